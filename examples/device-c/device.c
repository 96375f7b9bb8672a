/*
 * A whole device over HTTP/1.1 and JSON, for boards that cannot do gRPC, by libcurl, cJSON and OpenSSL: it enrols, beats with a backlog,
 * asks, downloads with resume, verifies the signed manifest, installs, reports, and proves the update by its heartbeats after the next
 * start. From outside: SERVICE (http…), ENROLMENT_KEY, SERIAL_NUMBER, DEVICE_TYPE, HARDWARE_MODEL, PRODUCT, TRUSTED_KEY (a public key,
 * PEM), INSTALL_HOOK, and STATE_DIR, which survives reboots and holds the `version` that runs. `./build OUT` builds OUT/device.
 * `device verify MANIFEST SIGNATURE…` only says of files, two by two, whether it believes them.
 */
#include "device.h"

#include <locale.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct device me;
char *boot_id;

static char *answered; /* the last directive that was acted on */
static double interval = 60, next_check;

const char *told(const char *name) {
  const char *value = getenv(name);
  if (value) return value;
  fprintf(stderr, "%s is not set\n", name);
  exit(1);
}

/* Seconds since the boot: a wall clock may jump. */
static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_BOOTTIME, &time);
  return time.tv_sec + time.tv_nsec / 1e9;
}

static bool enrol(void) {
  cJSON *body = cJSON_CreateObject();
  /* The same request id at each try: if the answer was lost, the next one brings the same device. */
  cJSON_AddStringToObject(body, "requestId", text(memory, "request"));
  cJSON_AddStringToObject(body, "enrolmentKey", told("ENROLMENT_KEY"));
  cJSON_AddStringToObject(body, "serialNumber", told("SERIAL_NUMBER"));
  cJSON_AddStringToObject(body, "deviceType", me.type);
  cJSON_AddStringToObject(body, "hardwareModel", me.model);
  cJSON_AddStringToObject(body, "firmwareVersion", me.version);
  cJSON *answer = call("/api/v1/devices:enrol", body);
  if (!answer) return false;
  set("epoch", cJSON_CreateNumber(number(answer, "epoch")));
  set("token", cJSON_CreateString(text(answer, "deviceToken")));
  keep();
  say("enrolled");
  cJSON_Delete(answer);
  return true;
}

/* Every heartbeat goes into the backlog first, and leaves it when the service has said that it is durable. */
static bool beat(void) {
  cJSON *body = cJSON_CreateObject(), *heartbeat = cJSON_CreateObject(), *backlog = item(memory, "backlog");
  set("sequence", cJSON_CreateNumber(number(memory, "sequence") + 1));
  cJSON_AddNumberToObject(heartbeat, "sequence", number(memory, "sequence"));
  cJSON_AddStringToObject(heartbeat, "firmwareVersion", me.version);
  cJSON_AddStringToObject(heartbeat, "bootId", boot_id);
  cJSON_AddItemToArray(backlog, heartbeat);
  if (cJSON_GetArraySize(backlog) > 1000) cJSON_DeleteItemFromArray(backlog, 0);
  keep();
  cJSON_AddNumberToObject(body, "epoch", number(memory, "epoch"));
  cJSON_AddItemToObject(body, "heartbeats", cJSON_Duplicate(backlog, true));
  cJSON *answer = call("/api/v1/heartbeat", body), *directive;
  if (!answer) return false;
  while (backlog->child && number(backlog->child, "sequence") <= number(item(answer, "ack"), "ackedThrough"))
    cJSON_DeleteItemFromArray(backlog, 0);
  interval = number(answer, "heartbeatInterval") * (1 + drand48() / 10); /* not all devices at once */
  cJSON_ArrayForEach(directive, item(answer, "directives")) {
    if (!item(directive, "updateAvailable") || !strcmp(text(directive, "id"), answered)) continue;
    free(answered);
    answered = strdup(text(directive, "id"));
    next_check = 0;
  }
  cJSON_Delete(answer);
  return true;
}

static bool check(void) {
  cJSON *body = cJSON_CreateObject();
  cJSON_AddStringToObject(body, "firmwareVersion", me.version);
  cJSON_AddStringToObject(body, "bootId", boot_id);
  cJSON_AddNumberToObject(body, "securityCounter", me.security_counter);
  cJSON *answer = call("/api/v1/updates:check", body);
  if (!answer) return false;
  next_check = now() + number(answer, "retryAfter");
  bool is_done = !item(answer, "offer") || take(item(answer, "offer"));
  if (!is_done) next_check = 0; /* it broke off: ask again, get the same offer, and go on */
  cJSON_Delete(answer);
  return is_done;
}

int main(int count, char **arguments) {
  setlocale(LC_CTYPE, "C.UTF-8");
  if (count > 3 && !strcmp(arguments[1], "verify")) return verify_files(count - 2, arguments + 2);
  umask(077);
  if (chdir(told("STATE_DIR"))) return perror("STATE_DIR"), 1;
  me = (struct device){.product = told("PRODUCT"), .type = told("DEVICE_TYPE"), .model = told("HARDWARE_MODEL"), .version = line_of("version")};
  /* One a start of this program; a real device has /proc/sys/kernel/random/boot_id. */
  boot_id = line_of("/proc/sys/kernel/random/uuid");
  answered = strdup("");
  srand48(time(NULL) ^ getpid());
  remember();
  open_link(told("SERVICE"), NULL);
  while (!item(memory, "token") && !enrol()) sleep(5);
  open_link(told("SERVICE"), text(memory, "token"));
  say("runs %s", me.version);
  for (int failures = 0;;) {
    bool is_well = beat();
    if (now() >= next_check) is_well = check() && is_well;
    failures = is_well ? 0 : failures + 1;
    /* At random up to a second after a failure, doubled each time up to a minute. */
    usleep(1e6 * (failures ? drand48() * (1 << (failures < 7 ? failures - 1 : 6)) : interval));
  }
}
