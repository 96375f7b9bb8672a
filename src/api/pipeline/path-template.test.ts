import { describe, expect, it } from "vitest";
import { PathTemplate } from "./path-template.ts";

function matched(template: string, path: string): Record<string, string> | undefined {
  const variables = new PathTemplate(template).match(path);
  return variables === undefined ? undefined : Object.fromEntries(variables);
}

describe("PathTemplate", () => {
  it.each([
    ["/v1/devices", "/v1/devices", {}],
    ["/v1/devices", "/v1/devices/", undefined],
    ["/v1/devices/{id}", "/v1/devices/7", { id: "7" }],
    ["/v1/devices/{id}", "/v1/devices/", undefined],
    ["/v1/devices/{id}", "/v1/devices/7/8", undefined],
    ["/v1/devices/{id}", "/v1/devices/a%2Fb", { id: "a/b" }],
    ["/v1/devices/{id}:stop", "/v1/devices/7:stop", { id: "7" }],
    ["/v1/devices/{id}:stop", "/v1/devices/7:start", undefined],
    ["/v1/devices/{id}:stop", "/v1/devices/7", undefined],
    ["/v1/devices:enrol", "/v1/devices:enrol", {}],
    ["/v1/devices", "/v1/devices:enrol", undefined],
    ["/v1/{a.b=shelves/*/books/*}", "/v1/shelves/1/books/2", { "a.b": "shelves/1/books/2" }],
    ["/v1/{a=shelves/*}/x/{b}", "/v1/shelves/1/x/2", { a: "shelves/1", b: "2" }],
    ["/v1/{name=files/**}", "/v1/files/a/b%2Fc", { name: "files/a/b%2Fc" }],
    ["/v1/{name=**}", "/v1/a/b", { name: "a/b" }],
    ["/v1/*/x", "/v1/anything/x", {}],
  ])("%s and %s", (template, path, expected) => {
    expect(matched(template, path)).toEqual(expected);
  });

  it.each(["v1/x", "/", "/v1/{a=**}/x", "/v1/{}"])("refuses %s", (template) => {
    expect(() => new PathTemplate(template)).toThrow();
  });

  it("puts the more specific template first", () => {
    const ordered = ["/v1/d/status", "/v1/d/{id}:stop", "/v1/d/{id}", "/v1/{x=**}"].map(
      (t) => new PathTemplate(t),
    );
    const shuffled = [ordered[3], ordered[2], ordered[0], ordered[1]] as PathTemplate[];
    expect(shuffled.toSorted((a, b) => a.compareSpecificity(b))).toEqual(ordered);
  });

  it("knows templates of the same shape", () => {
    expect(new PathTemplate("/v1/{a}/x").shape).toBe(new PathTemplate("/v1/{b}/x").shape);
    expect(new PathTemplate("/v1/{a}/x").shape).not.toBe(new PathTemplate("/v1/{a}/y").shape);
  });
});
