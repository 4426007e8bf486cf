/* A library for TVM's RPC server: one packed function, which runs COMMAND in the board's shell and
   returns what the system's wait returns. It needs the libc that the server has loaded, no headers
   of TVM; `struct any` is TVMFFIAny of tvm_ffi's C interface. */

#include <stdint.h>

enum { INTEGER = 1 }; /* kTVMFFIInt */

struct any {
    int32_t type, padding;
    int64_t integer;
};

int system(const char *command);

__attribute__((visibility("default"))) int __tvm_ffi_qcompile_run(void *self,
                                                                  const struct any *arguments,
                                                                  int32_t count,
                                                                  struct any *result) {
    (void)self, (void)arguments, (void)count;
    result->type = INTEGER;
    result->padding = 0;
    result->integer = system(COMMAND);
    return 0;
}
