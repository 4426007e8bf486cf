/* A program that times the network. Follows the run functions in one C file, with these tables:
   NAME, ports[], calls[] and call_of[] (the call that each step belongs to). */

static void fail(int status, const char *what, const char *which) {
    fprintf(stderr, "%s_bench: %s%s%s\n", NAME, what, which[0] ? ": " : "", which);
    exit(status);
}

static const char USAGE[] =
    "usage: " NAME "_bench [options]\n"
    "  --repeat N      runs that are timed (100)\n"
    "  --warmup N      runs before them (10)\n"
    "  --threads N     threads of a run (1)\n"
    "  --spin N        microseconds that threads spin before they sleep (0)\n"
    "  --per-layer     also the time of every kernel call\n"
    "  --input FILE    raw bytes of an input; once for each input, in order (a fixed pattern)\n"
    "  --output FILE   where to write the raw bytes of an output; once for each, in order\n"
    "  --json          seconds as JSON\n";

struct options {
    int repeat, warmup, threads, spin, per_layer, json;
    int input_files, output_files;
    const char *input[INPUTS + 1];
    const char *output[OUTPUTS + 1];
};

static int number(const char *option, const char *text, int least) {
    char *end = NULL;
    const long value = text == NULL ? -1 : strtol(text, &end, 10);
    if (text == NULL || *text == '\0' || *end != '\0' || value < least || value > 100000000) {
        fail(2, "a number is missing or out of range", option);
    }
    return (int)value;
}

static void take_file(const char *option, const char *file, const char **files, int *count,
                      int most) {
    if (file == NULL || *count == most) {
        fail(2, file == NULL ? "a file is missing" : "more files than arrays", option);
    }
    files[(*count)++] = file;
}

static struct options parse(char **arguments) {
    struct options found = {.repeat = 100, .warmup = 10, .threads = 1};
    for (char **word = arguments + 1; *word != NULL; ++word) {
        const char *option = *word;
        if (strcmp(option, "--per-layer") == 0) {
            found.per_layer = 1;
        } else if (strcmp(option, "--json") == 0) {
            found.json = 1;
        } else if (strcmp(option, "--help") == 0) {
            fputs(USAGE, stdout);
            exit(0);
        } else if (strcmp(option, "--repeat") == 0) {
            found.repeat = number(option, *++word, 1);
        } else if (strcmp(option, "--warmup") == 0) {
            found.warmup = number(option, *++word, 0);
        } else if (strcmp(option, "--threads") == 0) {
            found.threads = number(option, *++word, 1);
        } else if (strcmp(option, "--spin") == 0) {
            found.spin = number(option, *++word, 0);
        } else if (strcmp(option, "--input") == 0) {
            take_file(option, *++word, found.input, &found.input_files, INPUTS);
        } else if (strcmp(option, "--output") == 0) {
            take_file(option, *++word, found.output, &found.output_files, OUTPUTS);
        } else {
            fail(2, "unknown option (--help tells all)", option);
        }
        if (*word == NULL) {
            break;
        }
    }
    return found;
}

static void *allocate(size_t bytes) {
    void *memory = NULL;
    if (posix_memalign(&memory, 64, bytes == 0 ? 64 : bytes) != 0) {
        fail(1, "out of memory", "");
    }
    return memory;
}

/* Floats in [0, 1), any 8-bit integers, and zeros and ones of wider ones, which may be indices. */
static void fill(const struct port *port, void *data) {
    const size_t element = port->bytes / port->elements;
    memset(data, 0, port->bytes);
    for (size_t k = 0; k < port->elements; ++k) {
        const uint32_t noise = (uint32_t)k * 2654435761u >> 24;
        switch (port->kind) {
            case 'f': ((float *)data)[k] = (float)noise / 256; break;
            case 'd': ((double *)data)[k] = (double)noise / 256; break;
            case 'h': ((uint16_t *)data)[k] = (uint16_t)(0x3800 + noise); break;
            case 'b': ((uint8_t *)data)[k] = (uint8_t)noise; break;
            default: ((uint8_t *)data)[k * element] = noise & 1; break;
        }
    }
}

static void read_file(const char *path, void *data, size_t bytes) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        fail(1, "cannot be read", path);
    }
    const size_t count = fread(data, 1, bytes, file);
    if (count != bytes || fgetc(file) != EOF) {
        fail(1, "is not as large as the input", path);
    }
    fclose(file);
}

static void write_file(const char *path, const void *data, size_t bytes) {
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(data, 1, bytes, file) != bytes || fclose(file) != 0) {
        fail(1, "cannot be written", path);
    }
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of sorted values. */
static double median(const double *values, int count) {
    return (values[(count - 1) / 2] + values[count / 2]) / 2;
}

static void print_times(double *seconds, int count, int json) {
    double sum = 0;
    if (json) {
        printf("\"seconds\": [");
    }
    for (int k = 0; k < count; ++k) {
        sum += seconds[k];
        if (json) {
            printf("%s%.9f", k == 0 ? "" : ", ", seconds[k]);
        }
    }
    qsort(seconds, (size_t)count, sizeof *seconds, ascending);
    const double least = seconds[0], middle = median(seconds, count), mean = sum / count;
    const double p90 = seconds[(int)((int64_t)(count - 1) * 9 / 10)];
    if (json) {
        printf("], \"min_s\": %.9f, \"median_s\": %.9f, \"mean_s\": %.9f, \"p90_s\": %.9f", least,
               middle, mean, p90);
    } else {
        printf("min %.4f ms  median %.4f ms  mean %.4f ms  p90 %.4f ms\n", least * 1e3,
               middle * 1e3, mean * 1e3, p90 * 1e3);
    }
}

/* times: [call][run] in seconds. */
static void print_layers(double *times, int runs, int json) {
    double sum = 0;
    for (int k = 0; k < CALLS; ++k) {
        qsort(times + (size_t)k * runs, (size_t)runs, sizeof *times, ascending);
        sum += median(times + (size_t)k * runs, runs);
    }
    fputs(json ? ", \"layers\": [" : "\n median ms   share  layer\n", stdout);
    for (int k = 0; k < CALLS; ++k) {
        const double middle = median(times + (size_t)k * runs, runs);
        if (json) {
            printf("%s{\"name\": %s, \"median_s\": %.9f}", k == 0 ? "" : ", ", calls[k], middle);
        } else {
            printf("%10.4f  %5.1f%%  %s\n", middle * 1e3, sum > 0 ? middle / sum * 100 : 0.0,
                   calls[k]);
        }
    }
    fputs(json ? "]" : "", stdout);
}

static void run_once(const struct call *call) {
    const int32_t status = run(call);
    if (status != OK) {
        fail(1, message(status), "");
    }
}

int main(int count, char **arguments) {
    (void)count;
    const struct options options = parse(arguments);
    void *data[INPUTS + OUTPUTS + 1];
    for (int k = 0; k < INPUTS + OUTPUTS; ++k) {
        data[k] = allocate(ports[k].bytes);
        if (k < options.input_files) {
            read_file(options.input[k], data[k], ports[k].bytes);
        } else {
            fill(&ports[k], data[k]);
        }
    }
    const struct call call = {(const void *const *)data, data + INPUTS, allocate(WORKSPACE_BYTES)};
    set_spin(options.spin);
    if (set_threads(options.threads) != OK) {
        fail(1, message(ERROR_THREADS), "");
    }
    for (int k = 0; k < options.warmup; ++k) {
        run_once(&call);
    }
    const int runs = options.repeat;
    double *seconds = allocate(sizeof *seconds * (size_t)runs);
    for (int k = 0; k < runs; ++k) {
        const int64_t start = nanoseconds();
        run_once(&call);
        seconds[k] = (double)(nanoseconds() - start) * 1e-9;
    }
    double *times = NULL;
    if (options.per_layer) {
        static int64_t measured[STEPS + 1];
        times = allocate(sizeof *times * (size_t)runs * CALLS);
        memset(times, 0, sizeof *times * (size_t)runs * CALLS);
        profile = measured;
        for (int k = 0; k < runs; ++k) {
            run_once(&call);
            for (int step = 0; step < STEPS; ++step) {
                times[(size_t)call_of[step] * runs + k] += (double)measured[step] * 1e-9;
            }
        }
    }
    for (int k = 0; k < options.output_files; ++k) {
        write_file(options.output[k], data[INPUTS + k], ports[INPUTS + k].bytes);
    }
    if (options.json) {
        printf("{\"name\": \"%s\", \"threads\": %d, ", NAME, options.threads);
    } else {
        printf("%s: %d runs, threads: %d\n", NAME, runs, options.threads);
    }
    print_times(seconds, runs, options.json);
    if (options.per_layer) {
        print_layers(times, runs, options.json);
    }
    fputs(options.json ? "}\n" : "", stdout);
    return 0;
}
