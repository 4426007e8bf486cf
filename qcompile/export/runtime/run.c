/* One run of the network: its steps in order, on the workers when they are free. */

static int32_t check(const struct call *call) {
    static int32_t processor; /* 0: not asked yet, 1: fits, 2: does not */
    int32_t known = __atomic_load_n(&processor, __ATOMIC_RELAXED);
    if (known != 1) {
        known = processor_fits() ? 1 : 2;
        __atomic_store_n(&processor, known, __ATOMIC_RELAXED);
        if (known == 2) {
            return ERROR_PROCESSOR;
        }
    }
    for (int k = 0; k < INPUTS; ++k) {
        if (call->inputs[k] == NULL) {
            return ERROR_NULL_POINTER;
        }
    }
    for (int k = 0; k < OUTPUTS; ++k) {
        if (call->outputs[k] == NULL) {
            return ERROR_NULL_POINTER;
        }
    }
    if (call->workspace == NULL) {
        return ERROR_NULL_POINTER;
    }
    return (uintptr_t)call->workspace % 64 == 0 ? OK : ERROR_WORKSPACE_ALIGNMENT;
}

#ifdef PROFILE
static int64_t *profile; /* where to put the nanoseconds of each step, or NULL */
#endif

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
        const int64_t start = profile == NULL ? 0 : nanoseconds();
#endif
        if (alone || steps[k].extent == 1) {
            steps[k].run(call, 0, steps[k].extent, scratch);
        } else {
            share(call, &steps[k], scratch);
        }
#ifdef PROFILE
        if (profile != NULL) {
            profile[k] = nanoseconds() - start;
        }
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
        return ERROR_THREADS;
    }
    return resize_pool(threads) ? OK : ERROR_THREADS;
}

static int32_t get_threads(void) {
    const int32_t threads = __atomic_load_n(&pool.threads, __ATOMIC_RELAXED);
    return threads < 1 ? 1 : threads;
}

static void set_spin(int32_t microseconds) {
    __atomic_store_n(&pool.spin, microseconds < 0 ? 0 : microseconds, __ATOMIC_RELAXED);
}
