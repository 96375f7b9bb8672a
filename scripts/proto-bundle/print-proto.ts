import {
  type AnyDesc,
  type DescEnum,
  type DescField,
  type DescFile,
  type DescMessage,
  type DescMethod,
  type DescOneof,
  type DescService,
  ScalarType,
} from "@bufbuild/protobuf";
import { FieldDescriptorProto_Label } from "@bufbuild/protobuf/wkt";
import { getComments } from "@bufbuild/protoplugin";

/**
 * A proto3 file as text, with its comments and without any option or annotation, so that generators which know no extensions can
 * read it. `fileOptions` stand below the package. Throws for other syntaxes, nested types but those of maps, and groups.
 */
export function printProto(file: DescFile, fileOptions: readonly string[]): string {
  if (file.proto.syntax !== "proto3") throw new Error(`${file.name} is not proto3`);
  const blocks = [
    ['syntax = "proto3";'],
    [`package ${file.proto.package};`],
    fileOptions,
    filesNamedBy(file).map(({ name }) => `import "${name}.proto";`),
    ...file.services.map(printService),
    ...file.messages.map(printMessage),
    ...file.enums.map(printEnum),
  ];
  return `${blocks
    .filter((lines) => lines.length > 0)
    .map((lines) => lines.join("\n"))
    .join("\n\n")}\n`;
}

/** The other files whose types a file names, by name: of those that its source imports, some are for annotations alone. */
export function filesNamedBy(file: DescFile): readonly DescFile[] {
  const types = [
    ...file.services.flatMap(({ methods }) => methods.flatMap(({ input, output }) => [input, output])),
    ...file.messages.flatMap(({ fields }) => fields.flatMap((field) => [field.message ?? field.enum])),
  ];
  const files = new Set(types.flatMap((type) => type?.file ?? []));
  files.delete(file);
  return [...files].toSorted((one, other) => (one.name < other.name ? -1 : 1));
}

function printService(service: DescService): string[] {
  return [...commentOf(service), ...block(`service ${service.name}`, service.methods.map(printMethod))];
}

function printMethod(method: DescMethod): string[] {
  const side = (streams: boolean, { typeName }: DescMessage) => `(${streams ? "stream " : ""}.${typeName})`;
  const input = side(method.proto.clientStreaming, method.input);
  const output = side(method.proto.serverStreaming, method.output);
  return [...commentOf(method), `rpc ${method.name}${input} returns ${output};`];
}

function printMessage(message: DescMessage): string[] {
  const nested = [
    ...message.nestedEnums,
    ...message.nestedMessages.filter((each) => !each.proto.options?.mapEntry),
  ];
  if (nested.length > 0) throw new Error(`${message.typeName} has nested types`);
  const members = message.members.map((member) =>
    member.kind === "oneof" ? printOneof(member) : printField(member),
  );
  return [...commentOf(message), ...block(`message ${message.name}`, members)];
}

function printOneof(oneof: DescOneof): string[] {
  return [...commentOf(oneof), ...block(`oneof ${oneof.name}`, oneof.fields.map(printField))];
}

function printField(field: DescField): string[] {
  return [...commentOf(field), `${labelOf(field)}${typeOf(field)} ${field.name} = ${field.number};`];
}

function labelOf({ fieldKind, proto }: DescField): string {
  if (fieldKind === "map") return "";
  if (proto.label === FieldDescriptorProto_Label.REPEATED) return "repeated ";
  return proto.proto3Optional ? "optional " : "";
}

function typeOf(field: DescField): string {
  const named = field.message?.typeName ?? field.enum?.typeName;
  const type = named === undefined ? scalarName(field.scalar) : `.${named}`;
  return field.fieldKind === "map" ? `map<${scalarName(field.mapKey)}, ${type}>` : type;
}

function scalarName(type: ScalarType | undefined): string {
  if (type === undefined) throw new Error("a field without a type");
  return ScalarType[type].toLowerCase();
}

function printEnum(words: DescEnum): string[] {
  const values = words.values.map((value) => [...commentOf(value), `${value.name} = ${value.number};`]);
  return [...commentOf(words), ...block(`enum ${words.name}`, values)];
}

function commentOf(desc: Exclude<AnyDesc, DescFile>): string[] {
  const { leading } = getComments(desc);
  return leading === undefined
    ? []
    : leading
        .trimEnd()
        .split("\n")
        .map((line) => `//${line}`);
}

function block(head: string, members: readonly (readonly string[])[]): string[] {
  return [`${head} {`, ...members.flat().map((line) => `  ${line}`), "}"];
}
