import { describe, expect, it } from "vitest";
import { type BookedFirmware, ProductBook } from "./product-book.ts";

const device = { deviceType: "board", hardwareModel: "rev a", firmwareVersion: "3.0.0", product: "" };

function firmware(product: string, version: string, overrides: Partial<BookedFirmware> = {}): BookedFirmware {
  return {
    product,
    version,
    reportedVersions: [],
    deviceTypes: ["board"],
    hardwareModels: [],
    released: true,
    ...overrides,
  };
}

const two = [firmware("os", "3.0.0"), firmware("bootloader", "4.0.0")];

describe("the product of a device", () => {
  it("is nobody's question where one product has firmware for it", () => {
    const elsewhere = [
      firmware("bootloader", "3.0.0", { deviceTypes: ["camera"] }),
      firmware("bootloader", "3.0.0", { hardwareModels: ["rev b"] }),
      firmware("bootloader", "4.0.0", { released: false }),
    ];
    const book = new ProductBook([firmware("os", "3.1.0"), ...elsewhere]);
    expect(book.productOf(device)).toBeUndefined();
    expect(new ProductBook([]).productOf(device)).toBeUndefined();
  });

  it("is what was said, whatever the version", () => {
    expect(new ProductBook(two).productOf({ ...device, product: "bootloader" })).toEqual({
      kind: "known",
      product: "bootloader",
    });
  });

  it("is told by a version that only one product has, released or not, built however", () => {
    const draft = firmware("os", "2.9.0", { released: false });
    const book = new ProductBook([...two, draft]);
    for (const firmwareVersion of ["3.0.0", "3.0.0+git.abc", "2.9.0"]) {
      expect(book.productOf({ ...device, firmwareVersion })).toEqual({ kind: "known", product: "os" });
    }
    expect(book.productOf({ ...device, firmwareVersion: "4.0.0" })).toEqual({
      kind: "known",
      product: "bootloader",
    });
  });

  it("is unknown for a version of none of them, or of several", () => {
    const book = new ProductBook([...two, firmware("bootloader", "3.0.0"), firmware("radio", "1.0.0")]);
    expect(book.productOf({ ...device, firmwareVersion: "7.0.0" })).toEqual({
      kind: "unknown",
      candidates: ["bootloader", "os", "radio"],
    });
    expect(book.productOf(device)).toEqual({ kind: "unknown", candidates: ["bootloader", "os"] });
  });
});
