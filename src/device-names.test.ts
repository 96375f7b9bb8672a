import type { DescField, DescFile, DescMessage } from "@bufbuild/protobuf";
import { getOption, hasOption } from "@bufbuild/protobuf";
import { type FieldRules, field } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { describe, expect, it } from "vitest";
import { file_ota_v1_access_service } from "../gen/ota/v1/access_service_pb.js";
import { file_ota_v1_device_service } from "../gen/ota/v1/device_service_pb.js";
import { file_ota_v1_firmware_service } from "../gen/ota/v1/firmware_service_pb.js";
import {
  maxNameLength,
  serialNumberFault,
  serialNumberPattern,
  targetNameFault,
  targetNamePattern,
} from "./device-names.ts";

const makersNames = [
  "tx-200",
  "TRADFRI bulb E27 WS opal 980lm",
  "Raspberry Pi 4 Model B Rev 1.4",
  "toradex,verdin-imx8mp",
  "NVIDIA Jetson AGX Orin (64GB)",
  "vexpress/qemu",
  "Intel(R) Core(TM)  i5",
  "a*b:c;d=e'f",
  "温度センサー",
  "é",
  "x".repeat(maxNameLength),
  "😀".repeat(maxNameLength),
];

const noNames = {
  "the empty text": "",
  "a lone blank": " ",
  "a blank before": " a",
  "a blank behind": "a ",
  "a tab": "a\tb",
  "a line break": "a\nb",
  "a line break behind": "a\n",
  "a control character": "a\u0007b",
  "a null character": "a\u0000b",
  "a blank that does not break": "a\u00a0b",
  "a blank of no width": "a\u200bb",
  "a change of direction": "a\u202eb",
  "a line separator": "a\u2028b",
  "half a character": "a\ud800",
  "an accent of its own": "e\u0301",
  "a character too many": "x".repeat(maxNameLength + 1),
};

describe("names of types and models", () => {
  it.each(makersNames)("may be %s", (name) => {
    expect(targetNameFault(name)).toBeUndefined();
    expect(serialNumberFault(name)).toBeUndefined();
  });

  it.each(Object.entries(noNames))("are not %s", (_what, name) => {
    expect(targetNameFault(name)).toMatch(/^must be /);
    expect(serialNumberFault(name)).toMatch(/^must be /);
  });

  it.each(['10.1" panel', String.raw`a\b`])("leave %s to serial numbers", (name) => {
    expect(targetNameFault(name)).toMatch(/quotation marks and backslashes/);
    expect(serialNumberFault(name)).toBeUndefined();
  });
});

describe("the contract", () => {
  const files = [file_ota_v1_access_service, file_ota_v1_device_service, file_ota_v1_firmware_service];
  const written = (files as DescFile[]).flatMap(({ messages }) => messages).flatMap(fieldsOf);
  const patterns = (name: RegExp) =>
    written
      .filter(({ name: each }) => name.test(each))
      .map(({ name: each, rules }) => [each, rules?.pattern]);

  it("takes the same names wherever a device or a firmware is given one", () => {
    const names = patterns(
      /(Enrol|Register|CreateFirmware|CreateEnrolmentKey|UpdateDevice).*\.(device_types?|hardware_models?)$|FirmwareTargets\.names$/,
    );
    expect(names.length).toBeGreaterThanOrEqual(8);
    expect(names).toEqual(names.map(([name]) => [name, targetNamePattern]));
  });

  it("takes the same serial numbers from devices and from operators", () => {
    const names = patterns(/Request\.serial_number$/);
    expect(names).toEqual([
      ["EnrolDeviceRequest.serial_number", serialNumberPattern],
      ["RegisterDeviceRequest.serial_number", serialNumberPattern],
    ]);
  });
});

function fieldsOf(message: DescMessage) {
  return message.fields.map((each) => ({ name: `${message.name}.${each.name}`, rules: stringRules(each) }));
}

function stringRules(each: DescField) {
  if (!hasOption(each, field)) return undefined;
  const { type }: FieldRules = getOption(each, field);
  if (type.case === "string") return type.value;
  if (type.case !== "repeated") return undefined;
  const items = type.value.items?.type;
  return items?.case === "string" ? items.value : undefined;
}
