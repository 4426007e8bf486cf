/* One run of the network: its steps in order, on the workers when they are free. */

enum { OK = 0, NULL_POINTER = -1, PROCESSOR = -2, WORKSPACE_ALIGNMENT = -3, THREADS = -4 };

static const char *message(int32_t status) {
    switch (status) {
        case OK: return "success";
        case NULL_POINTER: return "an input, an output or the workspace is a null pointer";
        case PROCESSOR: return "this processor lacks an instruction set: " FEATURES;
        case WORKSPACE_ALIGNMENT: return "the workspace is not aligned to 64 bytes";
        case THREADS: return "the threads could not be started, or their number is not 1 to 256";
        default: return "unknown error";
    }
}

static int32_t check(const struct call *call) {
    static int32_t processor; /* 0: not asked yet, 1: fits, 2: does not */
    int32_t known = __atomic_load_n(&processor, __ATOMIC_RELAXED);
    if (known != 1) {
        known = processor_fits() ? 1 : 2;
        __atomic_store_n(&processor, known, __ATOMIC_RELAXED);
        if (known == 2) {
            return PROCESSOR;
        }
    }
    for (int k = 0; k < INPUTS; ++k) {
        if (call->inputs[k] == NULL) {
            return NULL_POINTER;
        }
    }
    for (int k = 0; k < OUTPUTS; ++k) {
        if (call->outputs[k] == NULL) {
            return NULL_POINTER;
        }
    }
    if (call->workspace == NULL) {
        return NULL_POINTER;
    }
    return (uintptr_t)call->workspace % 64 == 0 ? OK : WORKSPACE_ALIGNMENT;
}

static inline int32_t run(const struct call *call) {
    const int32_t status = check(call);
    if (status != OK) {
        return status;
    }
    unsigned char *scratch = call->workspace + ARENA_BYTES;
    const int alone = __atomic_load_n(&pool.threads, __ATOMIC_RELAXED) <= 1 ||
                      pthread_mutex_trylock(&pool.busy) != 0;
    for (int k = 0; k < STEPS; ++k) {
#ifdef PROFILE
        profile[k] -= nanoseconds();
#endif
        if (alone || steps[k].extent == 1) {
            steps[k].run(call, 0, steps[k].extent, scratch);
        } else {
            share(call, &steps[k], scratch);
        }
#ifdef PROFILE
        profile[k] += nanoseconds();
#endif
    }
    copy_outputs(call);
    if (!alone) {
        pthread_mutex_unlock(&pool.busy);
    }
    return OK;
}

static int32_t set_threads(int32_t threads) {
    if (threads < 1 || threads > MAXIMUM_THREADS) {
        return THREADS;
    }
    return resize_pool(threads) ? OK : THREADS;
}

static int32_t get_threads(void) {
    const int32_t threads = __atomic_load_n(&pool.threads, __ATOMIC_RELAXED);
    return threads < 1 ? 1 : threads;
}

static void set_spin(int32_t microseconds) {
    __atomic_store_n(&pool.spin, microseconds < 0 ? 0 : microseconds, __ATOMIC_RELAXED);
}
