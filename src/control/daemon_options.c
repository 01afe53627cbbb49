/* SPDX-License-Identifier: MIT */
#include "control/daemon_options.h"

#define FD_MAXIMUM 1023
#define SLICE_MAX_MS 1000
#define FIELD(field) .offset = offsetof(struct daemon_options, field)

const struct option daemon_option_table[] = {
    {"log", "FILE", NULL,
     "file for the host's messages (default: in the background, the file log beside the definitions' folder)",
     .kind = OPTION_TEXT, FIELD(log)},
    {"slice", "MILLISECONDS", "10", "how long a guest keeps a processor that others want", .kind = OPTION_NUMBER,
     .minimum = 1, .maximum = SLICE_MAX_MS, FIELD(slice_ms)},
    {"metrics", "WHERE", NULL,
     "serve /metrics to Prometheus there: PORT of 127.0.0.1 (0: a free one), ADDRESS:PORT or unix:PATH",
     .kind = OPTION_TEXT, FIELD(metrics)},
    {"ready-fd", "FD", NULL, "", .kind = OPTION_NUMBER, .hidden = true, .maximum = FD_MAXIMUM, FIELD(ready_fd)},
    {0},
};
