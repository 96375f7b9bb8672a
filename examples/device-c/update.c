/* From an offer to the reboot: verify, download, check, install; each step is reported. */
#include "device.h"

#include <openssl/evp.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* The bytes of a text in base64, with a zero behind them. The caller frees them. */
static char *bytes_of(const char *base64, size_t *size) {
  size_t length = strlen(base64);
  char *bytes = calloc(1, length + 1);
  int decoded = EVP_DecodeBlock((unsigned char *)bytes, (const unsigned char *)base64, length);
  for (*size = decoded < 0 ? 0 : decoded; *size > 0 && length > 0 && base64[length - 1] == '='; length--) --*size;
  bytes[*size] = 0;
  return bytes;
}

/* The signature first, over the exact bytes, by the key that this device trusts. Then nothing but what was signed counts. */
static const char *verify(const cJSON *offer, cJSON **manifest) {
  size_t size, length;
  char *content = bytes_of(text(offer, "manifest"), &size);
  const cJSON *each;
  bool is_trusted = false;
  cJSON_ArrayForEach(each, item(offer, "signatures")) {
    char *signature = bytes_of(text(each, "signature"), &length);
    is_trusted = is_trusted || is_signed(told("TRUSTED_KEY"), content, size, signature, length);
    free(signature);
  }
  *manifest = is_trusted ? read_manifest(content, size) : NULL;
  free(content);
  if (!is_trusted) return "SIGNATURE_INVALID";
  if (!*manifest) return "INVALID_MANIFEST";
  if (strcmp(text(*manifest, "version"), text(offer, "version"))) return "MANIFEST_MISMATCH";
  return why_not(*manifest, &me);
}

/* Whether the device is to go on: the service may be done with the update in the meantime. */
static bool report(const cJSON *offer, const char *state, const char *reason) {
  char path[128], name[64];
  cJSON *body = cJSON_CreateObject();
  say("%s%s%s", state, *reason ? " " : "", reason);
  snprintf(path, sizeof path, "/api/v1/updates/%s:report", text(offer, "updateId"));
  snprintf(name, sizeof name, "DEVICE_UPDATE_STATE_%s", state);
  cJSON_AddStringToObject(body, "state", name);
  cJSON_AddStringToObject(body, "failureReason", reason);
  cJSON *answer = call(path, body);
  const char *now = answer ? text(answer, "state") : "";
  static const char *const open[] = {"DOWNLOADING", "DOWNLOADED", "INSTALLING", "REBOOTING", "FAILED"};
  bool is_open = false;
  for (size_t i = 0; i < sizeof open / sizeof open[0]; i++) is_open = is_open || (strlen(now) > 20 && !strcmp(now + 20, open[i]));
  cJSON_Delete(answer);
  return is_open;
}

static bool has_digest(FILE *file, const char *expected) {
  unsigned char buffer[65536], digest[EVP_MAX_MD_SIZE];
  char hex[65];
  size_t size;
  EVP_MD_CTX *context = EVP_MD_CTX_new();
  EVP_DigestInit_ex(context, EVP_sha256(), NULL);
  rewind(file);
  while ((size = fread(buffer, 1, sizeof buffer, file)) > 0) EVP_DigestUpdate(context, buffer, size);
  EVP_DigestFinal_ex(context, digest, NULL);
  EVP_MD_CTX_free(context);
  for (int i = 0; i < 32; i++) snprintf(hex + 2 * i, 3, "%02x", digest[i]);
  return !strcmp(hex, expected);
}

/* The partial file has the name of the digest that it is to have, so that a break or a reboot costs nothing. */
static bool download(const cJSON *offer, const cJSON *manifest, const char *image, const char **reason) {
  FILE *file = fopen(image, "ab+");
  double size = number(manifest, "size_bytes");
  fseek(file, 0, SEEK_END);
  if (ftell(file) > 0) say("goes on at byte %ld of %.0f", ftell(file), size);
  bool is_whole = fetch(text(offer, "downloadPath"), file, size) && !fflush(file) && !fsync(fileno(file));
  if (is_whole && !has_digest(file, text(manifest, "sha256"))) {
    *reason = "DIGEST_MISMATCH";
    unlink(image);
  }
  fclose(file);
  return is_whole;
}

/* Runs the install hook, whose arguments never pass a shell. */
static bool run(const char *verb, const char *image, const char *version) {
  int status = 1;
  pid_t child = fork();
  if (child == 0) execl(told("INSTALL_HOOK"), "install-hook", verb, image, version, (char *)NULL), _exit(127);
  return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

bool take(const cJSON *offer) {
  char image[128];
  cJSON *manifest;
  bool goes_on = true;
  say("is offered %s", text(offer, "version"));
  const char *reason = verify(offer, &manifest);
  if (!reason) {
    snprintf(image, sizeof image, "image-%s", text(manifest, "sha256"));
    goes_on = report(offer, "DOWNLOADING", "") && download(offer, manifest, image, &reason);
  }
  if (goes_on && !reason) goes_on = report(offer, "DOWNLOADED", "") && report(offer, "INSTALLING", "");
  if (goes_on && !reason && !run("install", image, text(manifest, "version"))) reason = "INSTALL_FAILED";
  if (reason) report(offer, "FAILED", reason);
  if (goes_on && !reason) {
    set("installed", cJSON_CreateString(text(manifest, "version")));
    set("installed_counter", cJSON_CreateNumber(number(manifest, "security_counter")));
    keep();
    unlink(image);
    report(offer, "REBOOTING", "");
    if (run("reboot", NULL, NULL)) say("reboots"), exit(0);
  }
  cJSON_Delete(manifest);
  return goes_on;
}

int verify_files(int count, char **paths) {
  for (int i = 0; i + 1 < count; i += 2) {
    size_t size, length;
    char *content = content_of(paths[i], &size), *signature = content_of(paths[i + 1], &length);
    bool is_trusted = is_signed(told("TRUSTED_KEY"), content, size, signature, length);
    cJSON *manifest = is_trusted ? read_manifest(content, size) : NULL;
    puts(!is_trusted ? "SIGNATURE_INVALID" : !manifest ? "INVALID_MANIFEST" : "believed");
    cJSON_Delete(manifest);
    free(content), free(signature);
  }
  return 0;
}
