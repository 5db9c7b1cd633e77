# find_package(gemmill) gives these targets:
#
#   gemmill::gemmill          the shared library
#   gemmill::gemmill-static   the static one
#
# The file lies in <prefix>/share/gemmill/cmake; everything is found from there, wherever the prefix is moved to.
get_filename_component(_gemmill_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
set(_gemmill_places "${_gemmill_prefix}/lib" "${_gemmill_prefix}/lib64")
if(CMAKE_LIBRARY_ARCHITECTURE)
    list(APPEND _gemmill_places "${_gemmill_prefix}/lib/${CMAKE_LIBRARY_ARCHITECTURE}")
endif()

set(gemmill_FOUND TRUE)
foreach(_gemmill_kind "gemmill;SHARED;libgemmill.so;libgemmill.dylib" "gemmill-static;STATIC;libgemmill.a")
    list(POP_FRONT _gemmill_kind _gemmill_name _gemmill_type)
    if(NOT TARGET gemmill::${_gemmill_name})
        unset(_gemmill_file)
        foreach(_gemmill_place IN LISTS _gemmill_places)
            foreach(_gemmill_candidate IN LISTS _gemmill_kind)
                if(NOT _gemmill_file AND EXISTS "${_gemmill_place}/${_gemmill_candidate}")
                    set(_gemmill_file "${_gemmill_place}/${_gemmill_candidate}")
                endif()
            endforeach()
        endforeach()
        if(_gemmill_file)
            add_library(gemmill::${_gemmill_name} ${_gemmill_type} IMPORTED)
            set_target_properties(gemmill::${_gemmill_name} PROPERTIES
                IMPORTED_LOCATION "${_gemmill_file}"
                INTERFACE_INCLUDE_DIRECTORIES "${_gemmill_prefix}/include")
            if(_gemmill_type STREQUAL "STATIC")
                # What Rust's standard library needs of the system.
                set_target_properties(gemmill::${_gemmill_name} PROPERTIES
                    INTERFACE_LINK_LIBRARIES "gcc_s;util;rt;pthread;m;dl;c")
            endif()
        endif()
    endif()
endforeach()

if(NOT TARGET gemmill::gemmill)
    if(TARGET gemmill::gemmill-static)
        add_library(gemmill::gemmill INTERFACE IMPORTED)
        set_target_properties(gemmill::gemmill PROPERTIES INTERFACE_LINK_LIBRARIES gemmill::gemmill-static)
    else()
        set(gemmill_FOUND FALSE)
        set(gemmill_NOT_FOUND_MESSAGE "no libgemmill in ${_gemmill_places}")
    endif()
endif()
