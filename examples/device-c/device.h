/* What the parts of the device share: who it is, and what survives a reboot. */
#ifndef DEVICE_H
#define DEVICE_H

#include "link.h"
#include "manifest.h"

#include <stdlib.h>

extern struct device me;
extern char *boot_id;

/* What the environment tells this device; without it the program ends. */
const char *told(const char *name);

/* What survives a reboot: remember reads it, set changes it, keep writes it, whole or not at all, also when the power goes. */
extern cJSON *memory;
void remember(void);
void set(const char *name, cJSON *value);
void keep(void);

/* What a small file holds, with a zero behind it; empty if there is none. And its first line. The caller frees them. */
char *content_of(const char *path, size_t *size);
char *line_of(const char *path);

/* Takes an offer as far as it goes: false if it broke off and may go on. A device that reboots does not return. */
bool take(const cJSON *offer);
/* Whether files are believed: manifest and signature, two by two. One line each; for the test vectors. */
int verify_files(int count, char **paths);

#define say(...) (printf("%s (c): ", told("SERIAL_NUMBER")), printf(__VA_ARGS__), puts(""), fflush(stdout))

#endif
