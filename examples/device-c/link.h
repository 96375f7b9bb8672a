/* The way to the service: calls in JSON and downloads over HTTP/1.1, and what their answers hold. One thread uses it. */
#ifndef LINK_H
#define LINK_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdio.h>

/* Shows the token with each call from now on; NULL before the device has one. */
void open_link(const char *service, const char *token);

/* Posts a body, which it deletes. The answer, which the caller deletes; or NULL: the service could not be asked now, or refused.
   A credential that counts for nothing ends the program with 1: nobody but an operator can help this device. */
cJSON *call(const char *path, cJSON *body);

/* Appends the content at a path to a file, from where this ends, up to so many bytes in all; false if it broke off. */
bool fetch(const char *path, FILE *file, double size);

/* A member's text, or ""; and its number, or 0: large numbers and durations are texts in protobuf's JSON ("12", "1.5s"). */
const char *text(const cJSON *object, const char *name);
double number(const cJSON *object, const char *name);
cJSON *item(const cJSON *object, const char *name);

#endif
