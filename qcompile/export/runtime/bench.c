/* A program that times a network. Follows the run functions in one C file, with these tables:
   NAME, and variants[] with ports, calls and call_of (the call that each step belongs to) each. */

#if VARIANTS > 1
#define VARIANT_USAGE "  --variant V     the variant of the network (default)\n"
#else
#define VARIANT_USAGE ""
#endif

static void fail(int status, const char *what, const char *which) {
    fprintf(stderr, "%s_bench: %s%s%s\n", NAME, what, which[0] ? ": " : "", which);
    exit(status);
}

static const char USAGE[] =
    "usage: " NAME "_bench [options]\n"
    VARIANT_USAGE
    "  --repeat N      runs that are timed (100)\n"
    "  --warmup N      runs before them (10)\n"
    "  --threads N     threads of a run (1)\n"
    "  --spin N        microseconds that threads spin before they sleep (0)\n"
    "  --per-layer     also the time of every kernel call\n"
    "  --input FILE    raw bytes of an input; once for each input, in order (a fixed pattern)\n"
    "  --output FILE   where to write the raw bytes of an output; once for each, in order\n"
    "  --samples N     runs that are timed, without warming up: each reads the next sample of the\n"
    "                  input files and appends its outputs to the output files\n"
    "  --json          seconds as JSON\n";

struct options {
    const struct variant *variant;
    int repeat, warmup, threads, spin, per_layer, json, samples;
    int input_files, output_files;
    const char *input[MOST_ARRAYS + 1];
    const char *output[MOST_ARRAYS + 1];
};

static const struct variant *find_variant(const char *name) {
    for (int k = 0; name != NULL && k < VARIANTS; ++k) {
        if (strcmp(variants[k].name, name) == 0) {
            return &variants[k];
        }
    }
    fprintf(stderr, "%s_bench: --variant: found %s, there are", NAME, name == NULL ? "none" : name);
    for (int k = 0; k < VARIANTS; ++k) {
        fprintf(stderr, " %s", variants[k].name);
    }
    fputs("\n", stderr);
    exit(2);
}

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
    struct options found = {.variant = variants, .repeat = 100, .warmup = 10, .threads = 1};
    for (char **word = arguments + 1; *word != NULL; ++word) {
        const char *option = *word;
        if (strcmp(option, "--per-layer") == 0) {
            found.per_layer = 1;
        } else if (strcmp(option, "--json") == 0) {
            found.json = 1;
        } else if (strcmp(option, "--help") == 0) {
            fputs(USAGE, stdout);
            exit(0);
        } else if (VARIANTS > 1 && strcmp(option, "--variant") == 0) {
            found.variant = find_variant(*++word);
        } else if (strcmp(option, "--repeat") == 0) {
            found.repeat = number(option, *++word, 1);
        } else if (strcmp(option, "--warmup") == 0) {
            found.warmup = number(option, *++word, 0);
        } else if (strcmp(option, "--threads") == 0) {
            found.threads = number(option, *++word, 1);
        } else if (strcmp(option, "--spin") == 0) {
            found.spin = number(option, *++word, 0);
        } else if (strcmp(option, "--samples") == 0) {
            found.samples = number(option, *++word, 1);
        } else if (strcmp(option, "--input") == 0) {
            take_file(option, *++word, found.input, &found.input_files, MOST_ARRAYS);
        } else if (strcmp(option, "--output") == 0) {
            take_file(option, *++word, found.output, &found.output_files, MOST_ARRAYS);
        } else {
            fail(2, "unknown option (--help tells all)", option);
        }
        if (*word == NULL) {
            break;
        }
    }
    const struct network *network = found.variant->network;
    if (found.input_files > network->inputs || found.output_files > network->outputs) {
        const int inputs = found.input_files > network->inputs;
        fail(2, "more files than arrays", inputs ? "--input" : "--output");
    }
    if (found.samples > 0 && found.per_layer) {
        fail(2, "--per-layer times runs on one sample; it does not go with", "--samples");
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

static FILE *open_file(const char *path, const char *mode) {
    FILE *file = fopen(path, mode);
    if (file == NULL) {
        fail(1, mode[0] == 'r' ? "cannot be read" : "cannot be written", path);
    }
    return file;
}

static void expect_read(FILE *file, const char *path, void *data, size_t bytes) {
    if (fread(data, 1, bytes, file) != bytes) {
        fail(1, "is not as large as the input", path);
    }
}

static void close_read(FILE *file, const char *path) {
    if (fgetc(file) != EOF) {
        fail(1, "is not as large as the input", path);
    }
    fclose(file);
}

static void expect_written(int done, const char *path) {
    if (!done) {
        fail(1, "cannot be written", path);
    }
}

static void read_file(const char *path, void *data, size_t bytes) {
    FILE *file = open_file(path, "rb");
    expect_read(file, path, data, bytes);
    close_read(file, path);
}

static void write_file(const char *path, const void *data, size_t bytes) {
    FILE *file = open_file(path, "wb");
    expect_written(fwrite(data, 1, bytes, file) == bytes, path);
    expect_written(fclose(file) == 0, path);
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

/* The numbers of the steps of a call, which end its JSON. */
static void print_steps(const struct variant *variant, int call) {
    const char *before = "\"steps\": [";
    for (int step = 0; step < variant->network->step_count; ++step) {
        if (variant->call_of[step] == call) {
            printf("%s%d", before, step);
            before = ", ";
        }
    }
    fputs("]}", stdout);
}

/* times: [call][run] in seconds. */
static void print_layers(const struct variant *variant, double *times, int runs, int json) {
    double sum = 0;
    for (int k = 0; k < variant->call_count; ++k) {
        qsort(times + (size_t)k * runs, (size_t)runs, sizeof *times, ascending);
        sum += median(times + (size_t)k * runs, runs);
    }
    fputs(json ? ", \"layers\": [" : "\n median ms   share  layer\n", stdout);
    for (int k = 0; k < variant->call_count; ++k) {
        const double middle = median(times + (size_t)k * runs, runs);
        if (json) {
            printf("%s{\"name\": %s, \"median_s\": %.9f, ", k == 0 ? "" : ", ", variant->calls[k],
                   middle);
            print_steps(variant, k);
        } else {
            printf("%10.4f  %5.1f%%  %s\n", middle * 1e3, sum > 0 ? middle / sum * 100 : 0.0,
                   variant->calls[k]);
        }
    }
    fputs(json ? "]" : "", stdout);
}

static void run_once(const struct network *network, const struct call *call) {
    const int32_t status = run(network, call);
    if (status != OK) {
        fail(1, message(status), "");
    }
}

static double time_run(const struct network *network, const struct call *call) {
    const int64_t start = nanoseconds();
    run_once(network, call);
    return (double)(nanoseconds() - start) * 1e-9;
}

/* data: the arrays of the call, inputs first. */
static void time_samples(const struct options *options, const struct call *call, void **data,
                         double *seconds) {
    const struct network *network = options->variant->network;
    const struct port *in = options->variant->ports, *out = in + network->inputs;
    FILE *inputs[MOST_ARRAYS + 1], *outputs[MOST_ARRAYS + 1];
    for (int k = 0; k < options->input_files; ++k) {
        inputs[k] = open_file(options->input[k], "rb");
    }
    for (int k = 0; k < options->output_files; ++k) {
        outputs[k] = open_file(options->output[k], "wb");
    }
    for (int sample = 0; sample < options->samples; ++sample) {
        for (int k = 0; k < options->input_files; ++k) {
            expect_read(inputs[k], options->input[k], data[k], in[k].bytes);
        }
        seconds[sample] = time_run(network, call);
        for (int k = 0; k < options->output_files; ++k) {
            const void *written = data[network->inputs + k];
            expect_written(fwrite(written, 1, out[k].bytes, outputs[k]) == out[k].bytes,
                           options->output[k]);
        }
    }
    for (int k = 0; k < options->input_files; ++k) {
        close_read(inputs[k], options->input[k]);
    }
    for (int k = 0; k < options->output_files; ++k) {
        expect_written(fclose(outputs[k]) == 0, options->output[k]);
    }
}

/* Seconds by [call][run]. */
static double *time_layers(const struct variant *variant, const struct call *call, int runs) {
    static int64_t measured[MOST_STEPS + 1];
    const size_t bytes = sizeof(double) * (size_t)runs * (size_t)variant->call_count;
    double *times = memset(allocate(bytes), 0, bytes);
    profile = measured;
    for (int k = 0; k < runs; ++k) {
        run_once(variant->network, call);
        for (int step = 0; step < variant->network->step_count; ++step) {
            times[(size_t)variant->call_of[step] * runs + k] += (double)measured[step] * 1e-9;
        }
    }
    return times;
}

static void print_head(const struct options *options, int runs) {
    const char *which = VARIANTS > 1 ? options->variant->name : "";
    if (options->json) {
        printf("{\"name\": \"%s\", ", NAME);
        printf(VARIANTS > 1 ? "\"variant\": \"%s\", " : "%s", which);
        printf("\"threads\": %d, ", options->threads);
    } else {
        printf("%s%s%s: %d runs, threads: %d\n", NAME, VARIANTS > 1 ? ", " : "", which, runs,
               options->threads);
    }
}

int main(int count, char **arguments) {
    (void)count;
    const struct options options = parse(arguments);
    const struct variant *variant = options.variant;
    const struct network *network = variant->network;
    const struct port *ports = variant->ports;
    void *data[MOST_ARRAYS + 1];
    for (int k = 0; k < network->inputs + network->outputs; ++k) {
        data[k] = allocate(ports[k].bytes);
        if (k < options.input_files && options.samples == 0) {
            read_file(options.input[k], data[k], ports[k].bytes);
        } else {
            fill(&ports[k], data[k]);
        }
    }
    const struct call call = {(const void *const *)data, data + network->inputs,
                              allocate(WORKSPACE_BYTES)};
#ifdef OPEN_ACCELERATOR
    const int32_t opened = OPEN_ACCELERATOR();
    if (opened != OK) {
        fail(1, message(opened), errno == 0 ? "" : strerror(errno));
    }
#endif
    set_spin(options.spin);
    if (set_threads(options.threads) != OK) {
        fail(1, message(ERROR_THREADS), "");
    }
    const int runs = options.samples > 0 ? options.samples : options.repeat;
    double *seconds = allocate(sizeof *seconds * (size_t)runs);
    if (options.samples > 0) {
        time_samples(&options, &call, data, seconds);
    } else {
        for (int k = 0; k < options.warmup; ++k) {
            run_once(network, &call);
        }
        for (int k = 0; k < runs; ++k) {
            seconds[k] = time_run(network, &call);
        }
    }
    double *times = options.per_layer ? time_layers(variant, &call, runs) : NULL;
    for (int k = 0; options.samples == 0 && k < options.output_files; ++k) {
        write_file(options.output[k], data[network->inputs + k],
                   ports[network->inputs + k].bytes);
    }
    print_head(&options, runs);
    print_times(seconds, runs, options.json);
    if (options.per_layer) {
        print_layers(variant, times, runs, options.json);
    }
    fputs(options.json ? "}\n" : "", stdout);
    return 0;
}
