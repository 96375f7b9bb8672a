import { expect, it } from "vitest";
import { guessFromFileName } from "./firmware-form.ts";

it.each([
  ["thermostat-os-1.4.0.bin", "thermostat-os", "1.4.0"],
  ["gateway_v2.0.1-rc.1.tar.gz", "gateway", "2.0.1-rc.1"],
  ["router-fw-10.0.3", "router-fw", "10.0.3"],
  ["firmware.bin", "", ""],
])("guesses what %s is", (name, product, version) => {
  expect(guessFromFileName(name)).toEqual({ product, version });
});
