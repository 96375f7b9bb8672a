/* What survives a reboot: one JSON object in one file. */
#include "device.h"

#include <string.h>
#include <unistd.h>

cJSON *memory;

char *content_of(const char *path, size_t *size) {
  FILE *file = fopen(path, "r");
  char *content = calloc(1, 1 << 20);
  *size = file ? fread(content, 1, (1 << 20) - 1, file) : 0;
  if (file) fclose(file);
  return content;
}

char *line_of(const char *path) {
  size_t size;
  char *line = content_of(path, &size);
  line[strcspn(line, "\n")] = 0;
  return line;
}

void keep(void) {
  char *json = cJSON_PrintUnformatted(memory);
  FILE *file = fopen("memory.new", "w");
  if (!file || fputs(json, file) < 0 || fflush(file) || fsync(fileno(file)) || fclose(file) || rename("memory.new", "memory"))
    perror("memory"), exit(1);
  cJSON_free(json);
}

void set(const char *name, cJSON *value) {
  cJSON_DeleteItemFromObjectCaseSensitive(memory, name);
  cJSON_AddItemToObject(memory, name, value);
}

void remember(void) {
  size_t size;
  char *kept = content_of("memory", &size), *fresh = line_of("/proc/sys/kernel/random/uuid");
  memory = cJSON_Parse(kept);
  /* One that is there and cannot be read is no reason to begin anew: who it is, and what must not run here again, would be forgotten. */
  if (!memory && access("memory", F_OK) == 0) fputs("memory: cannot be read\n", stderr), exit(1);
  if (!memory) {
    memory = cJSON_CreateObject();
    set("request", cJSON_CreateString(fresh));
    set("backlog", cJSON_CreateArray());
    set("ran", cJSON_CreateArray());
  }
  free(kept);
  free(fresh);
  cJSON *ran = item(memory, "ran");
  if (!has_text(ran, me.version)) cJSON_AddItemToArray(ran, cJSON_CreateString(me.version));
  /* What was installed is what runs: its counter is the highest now, for it was not let in with a lower one. */
  if (!strcmp(text(memory, "installed"), me.version)) set("counter", cJSON_CreateNumber(number(memory, "installed_counter")));
  me.security_counter = number(memory, "counter");
  me.ran = ran;
  keep();
}
