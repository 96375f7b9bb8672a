import { describe, expect, it } from "vitest";
import { attachmentFormat } from "./attachment.ts";

const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
const statement = {
  _type: "https://in-toto.io/Statement/v1",
  subject: [{ name: "image.bin", digest: { sha256: "a".repeat(64) } }],
  predicateType: "https://slsa.dev/provenance/v1",
  predicate: {},
};
const envelope = {
  payloadType: "application/vnd.in-toto+json",
  payload: json(statement).toString("base64"),
  signatures: [{ sig: "" }],
};

describe("attachmentFormat", () => {
  it.each([
    ["cyclonedx", "CycloneDX 1.6", json({ bomFormat: "CycloneDX", specVersion: "1.6", components: [] })],
    ["spdx", "SPDX-2.3", json({ spdxVersion: "SPDX-2.3", SPDXID: "SPDXRef-DOCUMENT" })],
    [
      "spdx",
      "SPDX 3.0.1",
      json({ "@context": "https://spdx.org/rdf/3.0.1/spdx-context.jsonld", "@graph": [] }),
    ],
    ["in-toto", "https://slsa.dev/provenance/v1", json(statement)],
    ["in-toto", "https://slsa.dev/provenance/v1", json(envelope)],
    ["in-toto", "https://slsa.dev/provenance/v1", json({ mediaType: "bundle", dsseEnvelope: envelope })],
    ["suit", "SUIT envelope", Buffer.from("d86ba2024041034100", "hex")],
  ])("knows %s: %s (%#)", (kind, format, content) => {
    expect(attachmentFormat(content)).toEqual({ kind, format });
  });

  it.each([
    ["nothing", Buffer.alloc(0)],
    ["text", Buffer.from("SPDXVersion: SPDX-2.3")],
    ["bytes that are no UTF-8", Buffer.from([0x7b, 0xff, 0x7d])],
    ["half a document", Buffer.from('{"bomFormat": "CycloneDX", "specVersion": "1.6"')],
    ["another document", json({ name: "left-pad" })],
    ["a list", json([{ bomFormat: "CycloneDX", specVersion: "1.6" }])],
    ["a version that is no text", json({ bomFormat: "CycloneDX", specVersion: 1.6 })],
    ["a version that would break a line", json({ spdxVersion: "SPDX-2.3\nSPDX-2.2" })],
    ["an envelope of something else", json({ ...envelope, payloadType: "text/plain" })],
    ["an envelope of no statement", json({ ...envelope, payload: "AAAA" })],
    ["a statement of nothing", json({ ...statement, predicateType: undefined })],
    ["CBOR that is no envelope", Buffer.from("a2024041034100", "hex")],
  ])("refuses %s", (_, content) => {
    expect(() => attachmentFormat(content)).toThrow(
      expect.objectContaining({ reason: "INVALID_ATTACHMENT" }),
    );
  });
});
