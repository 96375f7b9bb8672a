import { describe, expect, it } from "vitest";
import { boxAround, boxText, readBox } from "./box.ts";

describe("readBox()", () => {
  it("reads what boxText() writes", () => {
    const box = { south: 52.3, west: 13.1, north: 52.7, east: 13.8 };
    expect(readBox(boxText(box))).toEqual(box);
  });

  it("cuts off what is beyond the world", () => {
    expect(readBox("-120,-200,100,190")).toEqual({ south: -90, west: -180, north: 90, east: 180 });
  });

  it.each([undefined, "", "1,2,3", "1,2,3,4,5", "a,b,c,d", "50,10,40,20", "40,20,50,10"])(
    "is undefined for %s",
    (text) => {
      expect(readBox(text)).toBeUndefined();
    },
  );
});

describe("boxAround()", () => {
  it("holds every point, with a margin", () => {
    const box = boxAround([
      { latitude: 52, longitude: 13 },
      { latitude: 48, longitude: 11 },
    ]);
    expect(box?.south).toBeLessThan(48);
    expect(box?.north).toBeGreaterThan(52);
    expect(box?.west).toBeLessThan(11);
    expect(box?.east).toBeGreaterThan(13);
  });

  it("has a size around a single point", () => {
    const box = boxAround([{ latitude: 52, longitude: 13 }]);
    expect((box?.north ?? 0) - (box?.south ?? 0)).toBeGreaterThan(0.01);
  });

  it("is undefined without points", () => {
    expect(boxAround([])).toBeUndefined();
  });
});
