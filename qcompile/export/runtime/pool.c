/* Threads that share the iterations of a step.

   A step's iterations are cut into chunks. The caller and the workers claim chunks one by one, by
   counting `chunks` down; the upper half of that word counts the steps, so that a worker that wakes
   late cannot claim a chunk of a step it has not seen. A claimed chunk keeps its step from ending,
   so the step's other fields stay as they are. Workers sleep on the futex `signal`. */

#define MAXIMUM_THREADS 256
#define CHUNKS_PER_THREAD 4          /* evens out threads that start late */
#define WORKER_STACK_BYTES (256 * 1024) /* also holds the program's thread-local variables */

struct call {
    const void *const *inputs;
    void *const *outputs;
    unsigned char *workspace;
};

struct step {
    /* 0, or why an accelerator failed. */
    int32_t (*run)(const struct call *call, int32_t begin, int32_t end, unsigned char *scratch);
    int32_t extent;
};

static struct {
    pthread_mutex_t busy; /* held by the run that uses the workers */
    int32_t threads;      /* workers and the caller; 0 means 1 */
    int32_t spin;         /* microseconds before a thread sleeps */
    pid_t process;
    pthread_t handles[MAXIMUM_THREADS];
    unsigned char *scratch;

    const struct call *call;
    const struct step *step;
    int32_t count; /* chunks of the step */
    int32_t stop;
    char apart[64]; /* the words below are written by all threads */
    uint64_t chunks; /* number of the step << 32 | chunks not yet claimed */
    int32_t unfinished;
    int32_t waiting; /* whether the caller sleeps until `unfinished` is 0 */
    int32_t signal;
    int32_t sleepers;
} pool = {.busy = PTHREAD_MUTEX_INITIALIZER};

static void sleep_while(int32_t *word, int32_t value) {
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void wake(int32_t *word, int32_t threads) {
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, threads, NULL, NULL, 0);
}

static int64_t nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Whether the word took another value within the time that threads may spin. */
static int changes_soon(const int32_t *word, int32_t value) {
    const int32_t spin = __atomic_load_n(&pool.spin, __ATOMIC_RELAXED);
    if (spin == 0) {
        return 0;
    }
    const int64_t end = nanoseconds() + (int64_t)spin * 1000;
    do {
        for (int k = 0; k < 64; ++k) {
            if (__atomic_load_n(word, __ATOMIC_ACQUIRE) != value) {
                return 1;
            }
            __asm__ volatile(RELAX);
        }
    } while (nanoseconds() < end);
    return 0;
}

/* Run chunks of the step until all are claimed. */
static void run_chunks(unsigned char *scratch) {
    uint64_t seen = __atomic_load_n(&pool.chunks, __ATOMIC_ACQUIRE);
    while ((uint32_t)seen != 0) {
        if (!__atomic_compare_exchange_n(&pool.chunks, &seen, seen - 1, 0, __ATOMIC_ACQ_REL,
                                         __ATOMIC_ACQUIRE)) {
            continue;
        }
        const struct step *step = pool.step;
        const int64_t chunk = (int64_t)(uint32_t)seen - 1, extent = step->extent;
        step->run(pool.call, (int32_t)(chunk * extent / pool.count),
                  (int32_t)((chunk + 1) * extent / pool.count), scratch);
        if (__atomic_sub_fetch(&pool.unfinished, 1, __ATOMIC_SEQ_CST) == 0 &&
            __atomic_load_n(&pool.waiting, __ATOMIC_SEQ_CST)) {
            wake(&pool.unfinished, 1);
        }
        seen = __atomic_load_n(&pool.chunks, __ATOMIC_ACQUIRE);
    }
}

static void *work(void *scratch) {
    for (;;) {
        const int32_t seen = __atomic_load_n(&pool.signal, __ATOMIC_ACQUIRE);
        run_chunks(scratch);
        if (__atomic_load_n(&pool.stop, __ATOMIC_ACQUIRE)) {
            return NULL;
        }
        if (!changes_soon(&pool.signal, seen)) {
            __atomic_add_fetch(&pool.sleepers, 1, __ATOMIC_SEQ_CST);
            sleep_while(&pool.signal, seen);
            __atomic_sub_fetch(&pool.sleepers, 1, __ATOMIC_SEQ_CST);
        }
    }
}

/* Run a step on all threads; the caller holds `busy`. */
static void share(const struct call *call, const struct step *step, unsigned char *scratch) {
    const int32_t most = pool.threads * CHUNKS_PER_THREAD;
    const int32_t count = step->extent < most ? step->extent : most;
    pool.call = call;
    pool.step = step;
    pool.count = count;
    __atomic_store_n(&pool.unfinished, count, __ATOMIC_RELAXED);
    const uint64_t number = (__atomic_load_n(&pool.chunks, __ATOMIC_RELAXED) >> 32) + 1;
    __atomic_store_n(&pool.chunks, number << 32 | (uint32_t)count, __ATOMIC_RELEASE);
    __atomic_add_fetch(&pool.signal, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&pool.sleepers, __ATOMIC_SEQ_CST) != 0) {
        wake(&pool.signal, count - 1);
    }
    run_chunks(scratch);
    int32_t left;
    while ((left = __atomic_load_n(&pool.unfinished, __ATOMIC_SEQ_CST)) != 0) {
        if (!changes_soon(&pool.unfinished, left)) {
            __atomic_store_n(&pool.waiting, 1, __ATOMIC_SEQ_CST);
            sleep_while(&pool.unfinished, left);
            __atomic_store_n(&pool.waiting, 0, __ATOMIC_RELAXED);
        }
    }
}

static void stop_workers(void) {
    /* A forked child has the variables, but not the threads. */
    if (pool.threads > 1 && pool.process == getpid()) {
        __atomic_store_n(&pool.stop, 1, __ATOMIC_RELEASE);
        __atomic_add_fetch(&pool.signal, 1, __ATOMIC_SEQ_CST);
        wake(&pool.signal, MAXIMUM_THREADS);
        for (int32_t k = 1; k < pool.threads; ++k) {
            pthread_join(pool.handles[k], NULL);
        }
    }
    free(pool.scratch);
    pool.scratch = NULL;
    pool.stop = 0;
    pool.sleepers = 0;
    __atomic_store_n(&pool.threads, 1, __ATOMIC_RELAXED);
}

static int start_workers(int32_t threads) {
    pthread_attr_t attributes;
    sigset_t all, before;
    void *scratch = NULL;
    int32_t started = 1;
    if (THREAD_BYTES != 0 && posix_memalign(&scratch, 64, (size_t)THREAD_BYTES * threads) != 0) {
        return 0;
    }
    pool.scratch = scratch;
    pool.process = getpid();
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, WORKER_STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (started < threads &&
           pthread_create(&pool.handles[started], &attributes, work,
                          pool.scratch + (size_t)THREAD_BYTES * started) == 0) {
        ++started;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    __atomic_store_n(&pool.threads, started, __ATOMIC_RELAXED);
    return started == threads;
}

static int resize_pool(int32_t threads) {
    pthread_mutex_lock(&pool.busy);
    stop_workers();
    int done = threads == 1 || start_workers(threads);
    if (!done) {
        stop_workers();
    }
    pthread_mutex_unlock(&pool.busy);
    return done;
}

/* At exit and when the library is unloaded. A run of another thread keeps its workers. */
__attribute__((destructor)) static void close_pool(void) {
    if (pool.process == getpid() && pthread_mutex_trylock(&pool.busy) == 0) {
        stop_workers();
        pthread_mutex_unlock(&pool.busy);
    }
}
