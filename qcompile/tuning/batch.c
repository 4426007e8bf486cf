/* A program that checks and times candidates. Follows their table in one C file: candidates[], of
   them CANDIDATES, the reference first; WORK_BYTES that they write; MOST_OPERANDS of one of them. They
   run on the pool of THREADS threads that a network has, each with THREAD_BYTES of its own.

   usage: batch check OPERANDS LIMIT_S CANDIDATE...
          batch model OPERANDS LIMIT_S CANDIDATE...
          batch time OPERANDS LIMIT_S BURST_NS ROUNDS SPREAD_PPM BUDGET_MS CANDIDATE...

   It tells what it does, line by line, so that nothing is lost with it:
       run K               candidate K runs from now on, for LIMIT_S seconds at most
       sum K HASH          of its output
       near K D L          the largest difference from the reference's floats, the largest of those
       sample K CALLS NS   so many calls took so long
       end */

static unsigned char marks[CANDIDATES + 2]; /* model_device/plugin.c tells their meaning */
#if defined(__aarch64__)
#define MARK(step) __asm__ volatile("sttrb wzr, [%0]" : : "r"(marks + (step)) : "memory")
#elif defined(__arm__)
#define MARK(step) __asm__ volatile("strbt %0, [%1], #0" : : "r"(0), "r"(marks + (step)) : "memory")
#else
#define MARK(step) (marks[0] = (unsigned char)(step))
#endif

enum { MOST_SAMPLES = 1000, SLOW = 2, ROUNDS_OF_SLOW = 2, UNWRITTEN = 0xA5 };

struct state {
    int number, count, done;
    double samples[MOST_SAMPLES]; /* nanoseconds of a call, ascending */
};

static unsigned char *given, *written, *expected; /* operands in the file, others, reference's output */
static unsigned char *scratch; /* of the calling thread */
static uint64_t reference; /* the hash of its output */
static int limit_s;

static void fail(const char *what, const char *which) {
    fprintf(stderr, "%s: %s\n", which, what);
    exit(1);
}

static void *allocate(size_t bytes) {
    void *memory = NULL;
    if (posix_memalign(&memory, 4096, bytes + 1) != 0) {
        fail("out of memory", "batch");
    }
    return memory;
}

static void load(const char *path) {
    const int file = open(path, O_RDONLY);
    struct stat about;
    if (file < 0 || fstat(file, &about) != 0) {
        fail("cannot be read", path);
    }
    const size_t bytes = (size_t)about.st_size;
    given = mmap(NULL, bytes + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (given == MAP_FAILED) {
        fail("out of memory", path);
    }
    for (size_t done = 0; done < bytes;) {
        const ssize_t got = read(file, given + done, bytes - done);
        if (got <= 0) {
            fail("cannot be read", path);
        }
        done += (size_t)got;
    }
    close(file);
    mprotect(given, bytes + 1, PROT_READ); /* what one candidate spoilt, others would answer for */
}

static void begin(int number) {
    printf("run %d\n", number);
    fflush(stdout);
    alarm((unsigned)limit_s);
}

static void **operands_of(int number, void **pointers) {
    const struct candidate *candidate = &candidates[number];
    for (int k = 0; k < candidate->count; ++k) {
        const struct operand *operand = &candidate->operands[k];
        pointers[k] = (operand->kind == GIVEN ? given : written) + operand->place;
    }
    return pointers;
}

static void run(const struct candidate *candidate, void **pointers) {
    const struct call call = {NULL, pointers, NULL};
    for (int k = 0; k < candidate->step_count; ++k) {
        const struct step *step = &candidate->steps[k];
        if (THREADS == 1 || step->extent == 1) {
            step->run(&call, 0, step->extent, scratch);
        } else {
            share(&call, step, scratch);
        }
    }
}

/* FNV-1a's step, on words of 64 bits, whose high bits it would leave without effect on low ones. */
static uint64_t hash(uint64_t sum, const unsigned char *data, size_t bytes) {
    for (size_t k = 0; k < bytes; k += 8) {
        uint64_t word = 0;
        memcpy(&word, data + k, bytes - k < 8 ? bytes - k : 8);
        sum = (sum ^ word) * 0x100000001b3u;
        sum ^= sum >> 32;
    }
    return sum;
}

static void compare(const float *found, const float *wanted, size_t count, double *difference,
                    double *largest) {
    for (size_t k = 0; k < count; ++k) {
        const double apart = fabs((double)found[k] - (double)wanted[k]);
        if (!(apart <= *difference) && memcmp(&found[k], &wanted[k], sizeof *found) != 0) {
            *difference = isnan(apart) ? INFINITY : apart;
        }
        *largest = fabs((double)wanted[k]) > *largest ? fabs((double)wanted[k]) : *largest;
    }
}

/* Whether the candidate may be timed: its output is the reference's, or may be close to it. */
static int check(int number) {
    const struct candidate *candidate = &candidates[number];
    void *pointers[MOST_OPERANDS];
    begin(number);
    memset(written, UNWRITTEN, WORK_BYTES);
    run(candidate, operands_of(number, pointers));
    alarm(0);
    uint64_t sum = 0xcbf29ce484222325u;
    double difference = 0, largest = 0;
    int floats = 0;
    size_t place = 0;
    for (int k = 0; k < candidate->count; ++k) {
        const struct operand *operand = &candidate->operands[k];
        if (operand->kind != OUTPUT && operand->kind != FLOATS) {
            continue;
        }
        sum = hash(sum, pointers[k], operand->bytes);
        if (number == 0) {
            memcpy(expected + place, pointers[k], operand->bytes);
        } else if (operand->kind == FLOATS && place + operand->bytes <= EXPECTED_BYTES) {
            compare(pointers[k], (const float *)(const void *)(expected + place),
                    operand->bytes / sizeof(float), &difference, &largest);
            floats = 1;
        }
        place += (operand->bytes + 63) / 64 * 64;
    }
    printf("sum %d %016llx\n", number, (unsigned long long)sum);
    reference = number == 0 ? sum : reference;
    if (floats) {
        printf("near %d %.9g %.9g\n", number, difference, largest);
    }
    return floats || sum == reference;
}

static void model(int number) {
    const struct candidate *candidate = &candidates[number];
    void *pointers[MOST_OPERANDS];
    operands_of(number, pointers);
    run(candidate, pointers);
    MARK(1 + number);
    run(candidate, pointers);
    MARK(0);
}

static void insert(struct state *state, double sample) {
    int k = state->count++;
    for (; k > 0 && state->samples[k - 1] > sample; --k) {
        state->samples[k] = state->samples[k - 1];
    }
    state->samples[k] = sample;
}

/* One sample: a call that fetches the operands into the caches, then as many as last `burst_ns`. */
static void take_sample(struct state *state, double burst_ns) {
    void *pointers[MOST_OPERANDS];
    const struct candidate *candidate = &candidates[state->number];
    operands_of(state->number, pointers);
    begin(state->number);
    int64_t start = nanoseconds();
    run(candidate, pointers);
    double each = (double)(nanoseconds() - start);
    if (state->count > 0 && state->samples[0] < each) {
        each = state->samples[0];
    }
    const long calls = each >= burst_ns ? 1 : (long)(burst_ns / (each < 1 ? 1 : each));
    start = nanoseconds();
    for (long k = 0; k < calls; ++k) {
        run(candidate, pointers);
    }
    const int64_t taken = nanoseconds() - start;
    alarm(0);
    insert(state, (double)taken / (double)calls);
    printf("sample %d %ld %lld\n", state->number, calls, (long long)taken);
    fflush(stdout);
}

/* Between the ends of the faster half. */
static double spread(const struct state *state) {
    const double fastest = state->samples[0];
    return (state->samples[(state->count - 1) / 2] - fastest) / (fastest < 1 ? 1 : fastest);
}

static void time_all(struct state *states, int count, double burst_ns, int rounds,
                     double most_spread, double budget_ms) {
    const int64_t start = nanoseconds();
    int left = 0;
    for (int k = 0; k < count; ++k) {
        left += !states[k].done;
    }
    for (int round = 1; left > 0 && round <= MOST_SAMPLES; ++round) {
        double best = INFINITY;
        for (int k = 0; k < count; ++k) {
            if (!states[k].done && round > 1 && (double)(nanoseconds() - start) > budget_ms * 1e6) {
                return;
            }
            if (!states[k].done) {
                take_sample(&states[k], burst_ns);
            }
            if (states[k].count > 0 && states[k].samples[0] < best) {
                best = states[k].samples[0];
            }
        }
        for (int k = 0; k < count; ++k) {
            /* All times are told as parts of the reference's: two disturbed samples of it must not
               end its rounds. */
            const int slow = states[k].number != 0 && round >= ROUNDS_OF_SLOW &&
                             states[k].samples[0] > SLOW * best;
            const int steady = round >= rounds && spread(&states[k]) <= most_spread;
            if (!states[k].done && (slow || steady)) {
                states[k].done = 1;
                --left;
            }
        }
    }
}

int main(int count, char **words) {
    if (count < 4) {
        fail("too few arguments", words[0]);
    }
    const int timed = strcmp(words[1], "time") == 0, first = timed ? 8 : 4;
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    limit_s = atoi(words[3]);
    load(words[2]);
    written = allocate(WORK_BYTES);
    scratch = allocate(THREAD_BYTES);
    if (!resize_pool(THREADS)) {
        fail("its threads cannot be started", words[0]);
    }
    expected = allocate(EXPECTED_BYTES);
    const int chosen = count > first ? count - first : 0;
    struct state *states = allocate(sizeof *states * (size_t)chosen);
    memset(states, 0, sizeof *states * (size_t)chosen);
    for (int k = 0; k < chosen; ++k) {
        states[k].number = atoi(words[first + k]);
        if (strcmp(words[1], "model") != 0) {
            states[k].done = !check(states[k].number);
        }
    }
    MARK(0);
    for (int k = 0; k < chosen && strcmp(words[1], "model") == 0; ++k) {
        model(states[k].number);
    }
    if (timed) {
        time_all(states, chosen, atof(words[4]), atoi(words[5]), atof(words[6]) * 1e-6,
                 atof(words[7]));
    }
    puts("end");
    return 0;
}
