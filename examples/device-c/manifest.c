/* The checks of docs/device-protocol.md, in their order: the signature over the exact bytes, the strict form, then what is said. */
#include "manifest.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <regex.h>
#include <string.h>
#include <time.h>

bool is_signed(const char *key_file, const void *content, size_t size, const void *signature, size_t length) {
  FILE *file = fopen(key_file, "r");
  EVP_PKEY *key = file ? PEM_read_PUBKEY(file, NULL, NULL, NULL) : NULL;
  if (file) fclose(file);
  if (!key) return false;
  int kind = EVP_PKEY_get_base_id(key);
  EVP_PKEY_CTX *options = NULL; /* belongs to the context below */
  EVP_MD_CTX *context = EVP_MD_CTX_new();
  bool is_right = EVP_DigestVerifyInit(context, &options, kind == EVP_PKEY_ED25519 ? NULL : EVP_sha256(), NULL, key) == 1 &&
                  (kind != EVP_PKEY_RSA || (EVP_PKEY_CTX_set_rsa_padding(options, RSA_PKCS1_PSS_PADDING) == 1 &&
                                            EVP_PKEY_CTX_set_rsa_pss_saltlen(options, 32) == 1)) &&
                  EVP_DigestVerify(context, signature, length, content, size) == 1;
  EVP_MD_CTX_free(context);
  EVP_PKEY_free(key);
  return is_right;
}

#define VERSION "(0|[1-9][0-9]*)\\.(0|[1-9][0-9]*)\\.(0|[1-9][0-9]*)(-[0-9A-Za-z-]+(\\.[0-9A-Za-z-]+)*)?"
#define TIME "\"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{1,9})?Z\""
#define TEXTS "\"[^\"]+\"(,\"[^\"]+\"){0,99}"

/* The members and the forms of their values as JSON without blanks. This device has no applications: `kind` is not known to it. */
static const struct member { const char *name, *form; bool may_be_missing; double most; } members[] = {
  {"type", "\"ota\\.v1\\.firmware-manifest\"", false, 0},
  {"product", "\"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\"", false, 0},
  {"version", "\"" VERSION "\"", false, 0},
  {"security_counter", "0|[1-9][0-9]*", false, 2147483647},
  {"security_fix", "true|false", false, 0},
  {"sha256", "\"[0-9a-f]{64}\"", false, 0},
  {"size_bytes", "[1-9][0-9]*", false, 9007199254740991},
  {"device_types", "\\[" TEXTS "\\]", false, 0},
  {"hardware_models", "\\[(" TEXTS ")?\\]", false, 0},
  {"min_current_version", "\"(" VERSION ")?\"", false, 0},
  {"downgrade_from", "\"" VERSION "\"", true, 0},
  {"created", TIME, false, 0},
  {"expires", TIME "|null", false, 0},
};
#define MEMBERS (sizeof members / sizeof members[0])

static bool has_form(const cJSON *value, const char *form) {
  char pattern[512], *text = cJSON_PrintUnformatted(value);
  regex_t compiled;
  snprintf(pattern, sizeof pattern, "^(%s)$", form);
  bool has = regcomp(&compiled, pattern, REG_EXTENDED | REG_NOSUB) == 0 && regexec(&compiled, text, 0, NULL, 0) == 0;
  regfree(&compiled);
  cJSON_free(text);
  return has;
}

/* Whether a name stands twice in an object, at any depth, or a text in a list. */
static bool has_double(const cJSON *value) {
  for (const cJSON *each = value->child; each; each = each->next) {
    if (has_double(each)) return true;
    for (const cJSON *other = each->next; other; other = other->next)
      if (cJSON_IsObject(value) ? !strcmp(each->string, other->string) : cJSON_IsString(each) && cJSON_Compare(each, other, true))
        return true;
  }
  return false;
}

/* Whether there is such a day and time. */
static bool is_in_calendar(const char *text) {
  struct tm parts = {0};
  char again[20];
  if (!strptime(text, "%Y-%m-%dT%H:%M:%S", &parts)) return false;
  time_t time = timegm(&parts);
  strftime(again, sizeof again, "%Y-%m-%dT%H:%M:%S", gmtime(&time));
  return !strncmp(again, text, 19);
}

static bool is_right(const cJSON *manifest) {
  if (!cJSON_IsObject(manifest) || has_double(manifest)) return false;
  for (size_t i = 0; i < MEMBERS; i++) {
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(manifest, members[i].name);
    if (!value && members[i].may_be_missing) continue;
    if (!value || !has_form(value, members[i].form)) return false;
    if (cJSON_IsNumber(value) && value->valuedouble > members[i].most) return false;
    if (!strncmp(members[i].form, TIME, strlen(TIME)) && cJSON_IsString(value) && !is_in_calendar(value->valuestring)) return false;
  }
  /* A member that it does not know may be a restriction that it would overlook. */
  for (const cJSON *each = manifest->child; each; each = each->next) {
    size_t i = 0;
    while (i < MEMBERS && strcmp(members[i].name, each->string)) i++;
    if (i == MEMBERS && strncmp(each->string, "info_", 5)) return false;
  }
  return true;
}

cJSON *read_manifest(const char *text, size_t size) {
  bool is_plain = size <= 65536 && strlen(text) == size && !strchr(text, '\\') && strncmp(text, "\xEF\xBB\xBF", 3) &&
                  mbstowcs(NULL, text, 0) != (size_t)-1; /* by the locale, which is UTF-8 */
  cJSON *manifest = is_plain ? cJSON_ParseWithOpts(text, NULL, true) : NULL;
  if (manifest && is_right(manifest)) return manifest;
  cJSON_Delete(manifest);
  return NULL;
}

/* Below 0, 0 or above 0, by the precedence of semantic versions: numbers by value and before texts, a pre-release before its release. */
static int compare(const char *a, const char *b) {
  for (int i = 0;; i++, a++, b++) {
    size_t m = strcspn(a, i < 3 ? ".-" : "."), n = strcspn(b, i < 3 ? ".-" : ".");
    bool is_number = strspn(a, "0123456789") == m, is_other_number = strspn(b, "0123456789") == n;
    if (is_number != is_other_number) return is_number ? -1 : 1;
    if (is_number && m != n) return m < n ? -1 : 1;
    int order = strncmp(a, b, m < n ? m : n);
    if (order || m != n) return order ? order : m < n ? -1 : 1;
    a += m, b += n;
    if (i == 2 && *a != *b) return *a ? -1 : 1;
    if (!*a || !*b) return (*a != 0) - (*b != 0);
  }
}

bool has_text(const cJSON *list, const char *text) {
  const cJSON *each;
  cJSON_ArrayForEach(each, list) if (!strcmp(each->valuestring, text)) return true;
  return false;
}

const char *why_not(const cJSON *manifest, const struct device *me) {
#define ITEM(name) cJSON_GetObjectItemCaseSensitive(manifest, name)
  const char *version = ITEM("version")->valuestring, *oldest = ITEM("min_current_version")->valuestring;
  const cJSON *expires = ITEM("expires"), *models = ITEM("hardware_models"), *from = ITEM("downgrade_from");
  char now[20];
  strftime(now, sizeof now, "%Y-%m-%dT%H:%M:%S", gmtime(&(time_t){time(NULL)}));
  if (cJSON_IsString(expires) && strncmp(now, expires->valuestring, 19) >= 0) return "FIRMWARE_EXPIRED";
  if (strcmp(ITEM("product")->valuestring, me->product)) return "WRONG_PRODUCT";
  if (!has_text(ITEM("device_types"), me->type)) return "WRONG_DEVICE_TYPE";
  if (models->child && !has_text(models, me->model)) return "WRONG_HARDWARE_MODEL";
  if (*oldest && compare(me->version, oldest) < 0) return "VERSION_TOO_OLD";
  if (ITEM("security_counter")->valuedouble < me->security_counter) return "SECURITY_COUNTER_TOO_LOW";
  /* Back only to what ran here before, or to what the signers let it go back to. */
  bool may_go_back = has_text(me->ran, version) || (from && compare(me->version, from->valuestring) <= 0);
  return compare(version, me->version) < 0 && !may_go_back ? "DOWNGRADE_REFUSED" : NULL;
}
