/* A libnvidia-ml.so.1 for tests: boards whose energy counters move every 100 ms of the monotonic clock.
   FAKE_NVML_BOARDS   how many (1)
   FAKE_NVML_WATTS    what board 0 takes; board i takes i + 1 times as much (300)
   FAKE_NVML_MIG      1: MIG is on
   FAKE_NVML_FAIL     the name of a function that fails, and with which code: "nvmlInitWithFlags 9"
   FAKE_NVML_RESET_S  the counters begin anew so many seconds after the start */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double started = -1;

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}

static double number(const char *name, double otherwise) {
    const char *text = getenv(name);
    return text ? atof(text) : otherwise;
}

static int fails(const char *function) {
    const char *text = getenv("FAKE_NVML_FAIL");
    size_t length = strlen(function);
    if (!text || strncmp(text, function, length) || text[length] != ' ') return 0;
    return atoi(text + length);
}

#define CHECK int code = fails(__func__); if (code) return code

int nvmlInitWithFlags(unsigned flags) { CHECK; if (started < 0) started = seconds(); return 0; }
int nvmlShutdown(void) { CHECK; return 0; }
const char *nvmlErrorString(int code) { return code == 999 ? "Unknown Error" : "Some Error"; }

int nvmlSystemGetDriverVersion(char *text, unsigned size) {
    CHECK;
    snprintf(text, size, "590.48.01");
    return 0;
}

int nvmlDeviceGetCount_v2(unsigned *count) { CHECK; *count = number("FAKE_NVML_BOARDS", 1); return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
    CHECK;
    *device = (void *)(uintptr_t)(index + 1);
    return 0;
}

int nvmlDeviceGetUUID(void *device, char *text, unsigned size) {
    CHECK;
    snprintf(text, size, "GPU-fake-%d", (int)(uintptr_t)device - 1);
    return 0;
}

int nvmlDeviceGetName(void *device, char *text, unsigned size) {
    CHECK;
    snprintf(text, size, "Fake H200");
    return 0;
}

int nvmlDeviceGetMigMode(void *device, unsigned *current, unsigned *pending) {
    CHECK;
    *current = *pending = number("FAKE_NVML_MIG", 0);
    return 0;
}

int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *millijoules) {
    CHECK;
    double since = started, now = seconds(), reset = number("FAKE_NVML_RESET_S", 0);
    if (!reset || now < started + reset) since -= 1000; /* it has been counting for long */
    unsigned long long ticks = (now - since) / 0.1;
    *millijoules = ticks * 100 * number("FAKE_NVML_WATTS", 300) * (uintptr_t)device;
    return 0;
}
