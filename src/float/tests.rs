//! Plans and functions of the float family.
