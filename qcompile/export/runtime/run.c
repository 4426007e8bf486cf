/* One run of a network: its steps in order, on the workers when they are free. */

struct network {
    const struct step *steps;
    void (*copy_outputs)(const struct call *call);
    int32_t step_count, inputs, outputs;
    size_t arena_bytes; /* of the workspace; the scratch memory of the caller follows */
};

static int32_t check(const struct network *network, const struct call *call) {
    static int32_t processor; /* 0: not asked yet, 1: fits, 2: does not */
    int32_t known = __atomic_load_n(&processor, __ATOMIC_RELAXED);
    if (known != 1) {
        known = processor_fits() ? 1 : 2;
        __atomic_store_n(&processor, known, __ATOMIC_RELAXED);
        if (known == 2) {
            return ERROR_PROCESSOR;
        }
    }
    for (int k = 0; k < network->inputs; ++k) {
        if (call->inputs[k] == NULL) {
            return ERROR_NULL_POINTER;
        }
    }
    for (int k = 0; k < network->outputs; ++k) {
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

static inline int32_t run(const struct network *network, const struct call *call) {
    int32_t status = check(network, call);
    if (status != OK) {
        return status;
    }
    unsigned char *scratch = call->workspace + network->arena_bytes;
    const int alone = __atomic_load_n(&pool.threads, __ATOMIC_RELAXED) <= 1 ||
                      pthread_mutex_trylock(&pool.busy) != 0;
    for (int k = 0; status == OK && k < network->step_count; ++k) {
        const struct step *step = &network->steps[k];
#ifdef PROFILE
        const int64_t start = profile == NULL ? 0 : nanoseconds();
        MARK(k + 1); /* 0 is none */
#endif
        if (alone || step->extent == 1) {
            status = step->run(call, 0, step->extent, scratch);
        } else {
            share(call, step, scratch);
        }
#ifdef PROFILE
        MARK(0);
        if (profile != NULL) {
            profile[k] = nanoseconds() - start;
        }
#endif
    }
    if (status == OK) {
        network->copy_outputs(call);
    }
    if (!alone) {
        pthread_mutex_unlock(&pool.busy);
    }
    return status;
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
