/* Calls and downloads by libcurl, over one connection that is kept. */
#include "link.h"

#include <curl/curl.h>
#include <stdlib.h>

static CURL *curl;
static const char *service;
static struct curl_slist *headers;

void open_link(const char *url, const char *token) {
  char line[1024];
  snprintf(line, sizeof line, "authorization: Bearer %s", token ? token : "");
  service = url;
  curl = curl ? curl : curl_easy_init();
  curl_slist_free_all(headers);
  headers = curl_slist_append(NULL, "content-type: application/json");
  if (token) headers = curl_slist_append(headers, line);
}

/* Does one request, and gives its HTTP status, or 0 without an answer. libcurl's own words go to the second place. */
static long perform(const char *path, FILE *file, const char **trouble) {
  char url[1024];
  long status = 0;
  snprintf(url, sizeof url, "%s%s", service, path);
  curl_easy_setopt(curl, CURLOPT_URL, url);
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, file);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L); /* a byte a second, or it is given up */
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, 60L);
  CURLcode code = curl_easy_perform(curl);
  *trouble = code ? curl_easy_strerror(code) : NULL;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  curl_easy_reset(curl); /* of its options; the connection stays */
  return code ? 0 : status;
}

cJSON *call(const char *path, cJSON *body) {
  char *sent = cJSON_PrintUnformatted(body), *got = NULL;
  const char *trouble;
  size_t size;
  FILE *answer = open_memstream(&got, &size);
  curl_easy_setopt(curl, CURLOPT_POSTFIELDS, sent);
  long status = perform(path, answer, &trouble);
  fclose(answer);
  cJSON *json = cJSON_Parse(got);
  if (status / 100 != 2 || !json) {
    fprintf(stderr, "%s: %s (%ld)\n", path, trouble ? trouble : text(json, "message"), status);
    if (status == 401) exit(1);
    cJSON_Delete(json);
    json = NULL;
  }
  free(got);
  cJSON_free(sent);
  cJSON_Delete(body);
  return json;
}

bool fetch(const char *path, FILE *file, double size) {
  const char *trouble;
  curl_off_t offset = ftell(file);
  if (offset >= (curl_off_t)size) return true; /* too much has the wrong digest */
  curl_easy_setopt(curl, CURLOPT_RESUME_FROM_LARGE, offset);
  curl_easy_setopt(curl, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)size - offset);
  curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L); /* to the object store; libcurl keeps the credential from other hosts */
  if (perform(path, file, &trouble)) return true;
  fprintf(stderr, "%s: %s\n", path, trouble);
  return false;
}

cJSON *item(const cJSON *object, const char *name) {
  return cJSON_GetObjectItemCaseSensitive(object, name);
}

const char *text(const cJSON *object, const char *name) {
  return cJSON_IsString(item(object, name)) ? item(object, name)->valuestring : "";
}

double number(const cJSON *object, const char *name) {
  return cJSON_IsNumber(item(object, name)) ? item(object, name)->valuedouble : atof(text(object, name));
}
