/* What the C tests share: random numbers, expected statuses. */
#ifndef GEMMILL_TESTS_CHECK_H
#define GEMMILL_TESTS_CHECK_H

#include <gemmill.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int checks, failures;

/* A call gives `expected`; one that is refused has a message that begins with its function's name. */
static inline void expect_status(gemmill_status expected, gemmill_status given, const char *call, int line)
{
    checks++;
    size_t name = strcspn(call, "( ");
    const char *message = gemmill_last_error();
    if (given != expected) {
        failures++;
        printf("line %d: %s: expected \"%s\", given \"%s\" (%s)\n", line, call, gemmill_status_text(expected),
               gemmill_status_text(given), message);
    } else if (given != GEMMILL_STATUS_OK && (strncmp(message, call, name) != 0 || message[name] != ':')) {
        failures++;
        printf("line %d: %s: the message is of another call: %s\n", line, call, message);
    }
}

static inline void expect_true(int holds, const char *what, int line)
{
    checks++;
    if (!holds) {
        failures++;
        printf("line %d: %s does not hold\n", line, what);
    }
}

#define EXPECT(status, call) expect_status(GEMMILL_STATUS_##status, call, #call, __LINE__)
#define OK(call) EXPECT(OK, call)
#define TRUE(what) expect_true(what, #what, __LINE__)

/* xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled". */
typedef struct {
    uint64_t state;
} Random;

static inline uint64_t next(Random *random)
{
    uint64_t x = random->state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    random->state = x;
    return x * UINT64_C(2685821657736338717);
}

/* From low to high, both included. */
static inline int64_t between(Random *random, int64_t low, int64_t high)
{
    return low + (int64_t)((next(random) >> 16) % (uint64_t)(high - low + 1));
}

static inline void *allocate(size_t count, size_t size)
{
    void *memory = malloc(count * size + !count);
    if (!memory) {
        fprintf(stderr, "no memory\n");
        exit(2);
    }
    return memory;
}

static inline int verdict(const char *name)
{
    printf("%s: %d checks, %d failed\n", name, checks, failures);
    return failures != 0;
}

#endif
