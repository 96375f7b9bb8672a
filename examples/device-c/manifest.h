/* What a device believes: who signed a manifest, whether it can be read strictly, and whether it is for this device. */
#ifndef MANIFEST_H
#define MANIFEST_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>

/* What a manifest is judged by. */
struct device {
  const char *product, *type, *model, *version;
  double security_counter; /* the highest that ran */
  const cJSON *ran;        /* the versions that ran, a list of texts */
};

/* Whether the key in a PEM file signed exactly these bytes: by Ed25519, ECDSA (P-256, DER) or RSA-PSS, as the key is. */
bool is_signed(const char *key_file, const void *content, size_t size, const void *signature, size_t length);

/* The manifest in a text that ends with a zero, or NULL if it is not exactly as the protocol wants it. The caller deletes it. */
cJSON *read_manifest(const char *text, size_t size);

/* Why a manifest that was read is not for this device, as a code; NULL if it is. */
const char *why_not(const cJSON *manifest, const struct device *me);

/* Whether a text is in a list of texts. */
bool has_text(const cJSON *list, const char *text);

#endif
