import { describe, expect, it } from "vitest";
import { boxAround, boxText, longitudeIn, readBox, wireBox } from "./box.ts";

describe("readBox()", () => {
  it("reads what boxText() writes", () => {
    const box = { south: 52.3, west: 13.1, north: 52.7, east: 13.8 };
    expect(readBox(boxText(box))).toEqual(box);
  });

  it("cuts off what is beyond the poles, and more than one round", () => {
    expect(readBox("-120,-200,100,190")).toEqual({ south: -90, west: -180, north: 90, east: 180 });
  });

  it("keeps what crosses the 180th meridian", () => {
    expect(readBox("-20,170,0,195")).toEqual({ south: -20, west: -190, north: 0, east: -165 });
    expect(readBox("-20,170,0,185")).toEqual({ south: -20, west: 170, north: 0, east: 185 });
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

  it("is small around places on both sides of the 180th meridian", () => {
    const box = boxAround([
      { latitude: -17, longitude: 178 },
      { latitude: -14, longitude: -172 },
    ]);
    expect((box?.east ?? 0) - (box?.west ?? 0)).toBeCloseTo(13);
  });

  it("is undefined without points", () => {
    expect(boxAround([])).toBeUndefined();
  });
});

describe("a box across the 180th meridian", () => {
  const box = { south: -20, west: 170, north: 0, east: 195 };

  it("is asked for with its western edge above its eastern one", () => {
    expect(wireBox(box)).toEqual({ south: -20, west: 170, north: 0, east: -165 });
    expect(wireBox({ ...box, west: -195, east: -170 })).toMatchObject({ west: 165, east: -170 });
    expect(wireBox({ ...box, west: -180, east: 180 })).toMatchObject({ west: -180, east: 180 });
  });

  it("draws what lies on both sides of it beside each other", () => {
    expect([175, -175, 180, -180].map((longitude) => longitudeIn(box, longitude))).toEqual([
      175, 185, 180, 180,
    ]);
    expect(longitudeIn({ ...box, west: -10, east: 20 }, -5)).toBe(-5);
  });
});
