// Prints buf/validate/validate.proto from the descriptor that @bufbuild/protovalidate embeds, so that the contract
// compiles against exactly the rules the server runs, and no schema registry is needed. Comments are not in a
// descriptor and are lost; everything else, custom options included, is kept.
//
// Usage: node scripts/print-validate-proto.ts > proto/third_party/buf/validate/validate.proto

import {
  createRegistry,
  type DescEnum,
  type DescExtension,
  type DescField,
  type DescMessage,
  type DescOneof,
  getExtension,
  type Message,
  ScalarType,
} from "@bufbuild/protobuf";
import { type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";
import {
  EnumOptionsSchema,
  EnumValueOptionsSchema,
  FeatureSetSchema,
  FieldDescriptorProto_Label,
  FieldOptionsSchema,
  FileOptionsSchema,
  MessageOptionsSchema,
  OneofOptionsSchema,
} from "@bufbuild/protobuf/wkt";
import { file_buf_validate_validate } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";

const maxFieldNumber = 536_870_911;

const file = file_buf_validate_validate;
const registry = createRegistry(file);

process.stdout.write(`${printFile().join("\n")}\n`);

function printFile(): string[] {
  const syntax = file.proto.syntax === "" ? "proto2" : file.proto.syntax;
  if (syntax !== "proto2") {
    throw new Error(`cannot print ${syntax}: labels and presence are written for proto2`);
  }
  const licence = [
    "Copyright 2023-2026 Buf Technologies, Inc.",
    "",
    'Licensed under the Apache License, Version 2.0 (the "License");',
    "you may not use this file except in compliance with the License.",
    "You may obtain a copy of the License at",
    "",
    "     http://www.apache.org/licenses/LICENSE-2.0",
    "",
    "Unless required by applicable law or agreed to in writing, software",
    'distributed under the License is distributed on an "AS IS" BASIS,',
    "WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.",
    "See the License for the specific language governing permissions and",
    "limitations under the License.",
  ];
  return [
    ...licence.map((line) => `// ${line}`.trimEnd()),
    "",
    "// Printed from the descriptor embedded in @bufbuild/protovalidate by `npm run proto:vendor`. Do not edit.",
    "",
    `syntax = "${syntax}";`,
    "",
    `package ${file.proto.package};`,
    "",
    ...file.proto.dependency.map((dependency) => `import "${dependency}";`),
    "",
    ...printOptions(FileOptionsSchema, file.proto.options).map((option) => `option ${option};`),
    ...file.extensions.flatMap((extension) => ["", ...printExtension(extension)]),
    ...file.messages.flatMap((message) => ["", ...printMessage(message)]),
    ...file.enums.flatMap((enumeration) => ["", ...printEnum(enumeration)]),
  ];
}

function printMessage(message: DescMessage): string[] {
  const { proto } = message;
  const body = [
    ...printOptions(MessageOptionsSchema, proto.options).map((option) => `option ${option};`),
    ...proto.reservedRange.map((range) => `reserved ${printRange(range.start, range.end - 1)};`),
    ...proto.reservedName.map((name) => `reserved "${name}";`),
    ...proto.extensionRange.map((range) => `extensions ${printRange(range.start, range.end - 1)};`),
    ...message.members.flatMap((member) =>
      member.kind === "oneof" ? printOneof(member) : [printField(member)],
    ),
    ...message.nestedMessages.filter((nested) => !nested.proto.options?.mapEntry).flatMap(printMessage),
    ...message.nestedEnums.flatMap(printEnum),
    ...message.nestedExtensions.flatMap(printExtension),
  ];
  return block(`message ${message.name}`, body);
}

function printOneof(oneof: DescOneof): string[] {
  return block(`oneof ${oneof.name}`, [
    ...printOptions(OneofOptionsSchema, oneof.proto.options).map((option) => `option ${option};`),
    ...oneof.fields.map(printField),
  ]);
}

function printEnum(enumeration: DescEnum): string[] {
  return block(`enum ${enumeration.name}`, [
    ...printOptions(EnumOptionsSchema, enumeration.proto.options).map((option) => `option ${option};`),
    ...enumeration.proto.reservedRange.map((range) => `reserved ${printRange(range.start, range.end)};`),
    ...enumeration.proto.reservedName.map((name) => `reserved "${name}";`),
    ...enumeration.values.map(
      (value) =>
        `${value.name} = ${value.number}${bracket(printOptions(EnumValueOptionsSchema, value.proto.options))};`,
    ),
  ]);
}

function printExtension(extension: DescExtension): string[] {
  return block(`extend ${extension.extendee.typeName}`, [printField(extension)]);
}

function printField(field: DescField | DescExtension): string {
  const options = printOptions(FieldOptionsSchema, field.proto.options);
  if (field.proto.defaultValue !== "") {
    options.unshift(`default = ${field.proto.defaultValue}`);
  }
  const label = field.oneof || field.fieldKind === "map" ? "" : `${printLabel(field.proto.label)} `;
  return `${label}${printType(field)} ${field.name} = ${field.number}${bracket(options)};`;
}

function printLabel(label: FieldDescriptorProto_Label): string {
  switch (label) {
    case FieldDescriptorProto_Label.OPTIONAL:
      return "optional";
    case FieldDescriptorProto_Label.REQUIRED:
      return "required";
    case FieldDescriptorProto_Label.REPEATED:
      return "repeated";
  }
}

function printType(field: DescField | DescExtension): string {
  const value = field.message?.typeName ?? field.enum?.typeName;
  const scalar = field.scalar === undefined ? undefined : scalarName(field.scalar);
  const type = value === undefined ? scalar : `.${value}`;
  return field.fieldKind === "map" ? `map<${scalarName(field.mapKey)}, ${type}>` : String(type);
}

function scalarName(type: ScalarType): string {
  return String(ScalarType[type]).toLowerCase();
}

function printRange(first: number, last: number): string {
  const end = last >= maxFieldNumber ? "max" : String(last);
  return String(first) === end ? end : `${first} to ${end}`;
}

/** The set options of one element as `name = value`: the built-in ones, then the custom ones by their extension. */
function printOptions(schema: DescMessage, options: Message | undefined): string[] {
  if (options === undefined) {
    return [];
  }
  const view = reflect(schema, options);
  const builtIn = view.fields
    .filter((field) => view.isSet(field) && field.message?.typeName !== FeatureSetSchema.typeName)
    .map((field) => `${field.name} = ${printValue(field, view.get(field))}`);
  const custom = (options.$unknown ?? []).map(({ no }) => {
    const extension = registry.getExtensionFor(schema, no);
    if (extension?.message === undefined) {
      throw new Error(`option ${no} of ${schema.typeName} is not a known message extension`);
    }
    const value = getExtension(options, extension) as Message;
    return `(${extension.typeName}) = ${printLiteral(reflect(extension.message, value))}`;
  });
  return [...builtIn, ...new Set(custom)];
}

/** A message as a text-format literal, as the value of a custom option. */
function printLiteral(message: ReflectMessage): string {
  const fields = message.fields
    .filter((field) => message.isSet(field))
    .map((field) => `${field.name}: ${printValue(field, message.get(field))}`);
  return `{ ${fields.join(", ")} }`;
}

function printValue(field: DescField, value: unknown): string {
  switch (field.fieldKind) {
    case "list":
      return `[${[...(value as Iterable<unknown>)].map((item) => printSingular(field, item)).join(", ")}]`;
    case "map":
      throw new Error(`a map cannot be the value of an option: ${String(field)}`);
    default:
      return printSingular(field, value);
  }
}

function printSingular(field: DescField, value: unknown): string {
  if (field.message) {
    return printLiteral(value as ReflectMessage);
  }
  if (field.enum) {
    return String(field.enum.value[value as number]?.name);
  }
  // A JSON string is a valid protobuf string literal for the ASCII text that rules are written in.
  return field.scalar === ScalarType.STRING ? JSON.stringify(value) : String(value);
}

function bracket(options: string[]): string {
  return options.length === 0 ? "" : ` [${options.join(", ")}]`;
}

function block(head: string, body: string[]): string[] {
  return body.length === 0 ? [`${head} {}`] : [`${head} {`, ...body.map((line) => `  ${line}`), "}"];
}
