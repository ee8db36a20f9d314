/* A libnvidia-ml.so.1 for tests: boards whose power is a function of the monotonic clock, and energy its integral.
   Numbers in the environment, with what they are otherwise:
   FAKE_NVML_BOARDS       how many (1)
   FAKE_NVML_WATTS        what board 0 takes; board i takes i + 1 times as much (300)
   FAKE_NVML_IDLE_WATTS   where given, every second half of each FAKE_NVML_PERIOD_S (1) takes so much instead
   FAKE_NVML_TICK_S       how often the counters move (0.1)
   FAKE_NVML_GAIN         what sampled power shows of each watt of the counters (1)
   FAKE_NVML_MIG          1: MIG is on
   FAKE_NVML_RESET_S      the counters begin anew so many seconds after the start
   FAKE_NVML_CELSIUS      temperature (40); grows by FAKE_NVML_CELSIUS_PER_S (0)
   FAKE_NVML_SM_MHZ       clock (1755), of at most 1980
   FAKE_NVML_THROTTLE     bits of what holds the clocks down (0)
   FAKE_NVML_PIDS         processes that compute on every board, by numbers with commas between (none)
   FAKE_NVML_CAPABILITY   compute capability, times ten (90)
   FAKE_NVML_NO_INSTANT   1: the field of instant power is not supported
   FAKE_NVML_FAIL         the name of a function that fails, and with which code: "nvmlInitWithFlags 9" */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { INSTANT_FIELD = 186, AVERAGE_FIELD = 185, NOT_SUPPORTED = 3, INSUFFICIENT_SIZE = 7 };

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

/* What the board takes at a time, and has taken since time 0. */
static double watts(void *device, double time) {
    double busy = number("FAKE_NVML_WATTS", 300), idle = number("FAKE_NVML_IDLE_WATTS", -1);
    double period = number("FAKE_NVML_PERIOD_S", 1);
    if (idle >= 0 && fmod(time, period) >= period / 2) busy = idle;
    return busy * (uintptr_t)device;
}

static double joules(void *device, double time) {
    double busy = number("FAKE_NVML_WATTS", 300), idle = number("FAKE_NVML_IDLE_WATTS", -1);
    double period = number("FAKE_NVML_PERIOD_S", 1);
    if (idle < 0) return busy * time * (uintptr_t)device;
    double within = fmod(time, period);
    double at_work = floor(time / period) * period / 2 + (within < period / 2 ? within : period / 2);
    return (idle * time + (busy - idle) * at_work) * (uintptr_t)device;
}

#define CHECK int code = fails(__func__); if (code) return code

int nvmlInitWithFlags(unsigned flags) { CHECK; if (started < 0) started = seconds(); return 0; }
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
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
    if (index >= number("FAKE_NVML_BOARDS", 1)) return 2;
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
    double tick = number("FAKE_NVML_TICK_S", 0.1), now = seconds(), reset = number("FAKE_NVML_RESET_S", 0);
    double shown = floor(now / tick) * tick;
    if (reset && now >= started + reset && shown > started + reset)
        *millijoules = 1000 * (joules(device, shown) - joules(device, started + reset));
    else
        *millijoules = 1000 * (joules(device, shown) + 1e6); /* it has been counting for long */
    return 0;
}

int nvmlDeviceGetPowerUsage(void *device, unsigned *milliwatts) {
    CHECK;
    double now = seconds(), gain = number("FAKE_NVML_GAIN", 1);
    double mean = joules(device, now) - joules(device, now - 1); /* over the last second */
    *milliwatts = 1000 * gain * (number("FAKE_NVML_CAPABILITY", 90) > 80 ? mean : watts(device, now));
    return 0;
}

typedef struct {
    uint32_t field, scope;
    int64_t timestamp, latency;
    int type, code;
    union { double d; unsigned u; unsigned long long ull; } value;
} Field;

int nvmlDeviceGetFieldValues(void *device, int count, Field *fields) {
    CHECK;
    double now = seconds();
    for (int i = 0; i < count; i++) {
        int known = fields[i].field == INSTANT_FIELD || fields[i].field == AVERAGE_FIELD;
        int here = known && fields[i].scope == 0 && !number("FAKE_NVML_NO_INSTANT", 0);
        fields[i].code = here ? 0 : NOT_SUPPORTED;
        fields[i].type = 1;
        fields[i].value.u = here ? 1000 * number("FAKE_NVML_GAIN", 1) * watts(device, now) : 0;
    }
    return 0;
}

static int celsius(void) {
    return number("FAKE_NVML_CELSIUS", 40) + number("FAKE_NVML_CELSIUS_PER_S", 0) * (seconds() - started);
}

int nvmlDeviceGetTemperature(void *device, unsigned sensor, unsigned *degrees) {
    CHECK;
    *degrees = celsius();
    return 0;
}

typedef struct { unsigned version, sensor; int degrees; } Temperature;

int nvmlDeviceGetTemperatureV(void *device, Temperature *temperature) {
    CHECK;
    temperature->degrees = celsius();
    return 0;
}

int nvmlDeviceGetClockInfo(void *device, unsigned kind, unsigned *megahertz) {
    CHECK;
    *megahertz = number("FAKE_NVML_SM_MHZ", 1755);
    return 0;
}

int nvmlDeviceGetMaxClockInfo(void *device, unsigned kind, unsigned *megahertz) {
    CHECK;
    *megahertz = 1980;
    return 0;
}

int nvmlDeviceGetCurrentClocksEventReasons(void *device, unsigned long long *reasons) {
    CHECK;
    *reasons = number("FAKE_NVML_THROTTLE", 0);
    return 0;
}

typedef struct { unsigned pid; unsigned long long memory; unsigned gpu_instance, compute_instance; } Process;

int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, Process *processes) {
    CHECK;
    const char *text = getenv("FAKE_NVML_PIDS");
    unsigned room = *count, found = 0;
    for (const char *next = text; next && *next; found++) {
        char *end;
        unsigned pid = strtoul(next, &end, 10);
        if (processes && found < room) processes[found] = (Process){pid, 1 << 20, -1, -1};
        next = *end ? end + 1 : end;
    }
    *count = found;
    return found > room ? INSUFFICIENT_SIZE : 0;
}

int nvmlDeviceGetGraphicsRunningProcesses_v3(void *device, unsigned *count, Process *processes) {
    CHECK;
    *count = 0;
    return 0;
}

int nvmlDeviceGetEnforcedPowerLimit(void *device, unsigned *milliwatts) { CHECK; *milliwatts = 600000; return 0; }
int nvmlDeviceGetPowerManagementDefaultLimit(void *device, unsigned *milliwatts) {
    CHECK;
    *milliwatts = 700000;
    return 0;
}

int nvmlDeviceGetEccMode(void *device, unsigned *current, unsigned *pending) {
    CHECK;
    *current = *pending = 1;
    return 0;
}

int nvmlDeviceGetPersistenceMode(void *device, unsigned *mode) { CHECK; *mode = 1; return 0; }
int nvmlDeviceGetArchitecture(void *device, unsigned *architecture) { CHECK; *architecture = 9; return 0; }
int nvmlDeviceGetCudaComputeCapability(void *device, int *major, int *minor) {
    CHECK;
    int both = number("FAKE_NVML_CAPABILITY", 90);
    *major = both / 10;
    *minor = both % 10;
    return 0;
}
