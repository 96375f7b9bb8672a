import type { HttpBinding } from "../../src/api/pipeline/http-binding.ts";
import { type Json, jsonText } from "./hostile-requests.ts";

/** A request as REST says it; without URL where a path or query cannot say it. */
export function restRequest(
  { path, template, body }: HttpBinding,
  json: { readonly [name: string]: Json },
): { readonly url: string | undefined; readonly body?: string } {
  const rest = { ...json };
  let url = path;
  for (const variable of template.variables) {
    const jsonName = variable.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
    const value = rest[jsonName];
    if (typeof value !== "string" || value === "" || !value.isWellFormed() || value.length > 1_000)
      return { url: undefined };
    url = url.replace(new RegExp(`\\{${variable}(=[^}]*)?\\}`), encodeURIComponent(value));
    delete rest[jsonName];
  }
  if (body === "*") return { url, body: jsonText(rest) };
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(rest)) {
    for (const item of Array.isArray(value) ? value.slice(0, 200) : [value]) {
      const said = typeof item === "object" && item !== null ? jsonText(item) : String(item);
      query.append(name, said.toWellFormed().slice(0, 2_000));
    }
  }
  if (body !== undefined) {
    const held = rest[body.jsonName];
    query.delete(body.jsonName);
    return { url: `${url}?${query.toString()}`, body: jsonText(held ?? {}) };
  }
  return { url: `${url}?${query.toString()}` };
}
