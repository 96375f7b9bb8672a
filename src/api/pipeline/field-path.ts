import { create, type DescField, type DescMessage, type Message } from "@bufbuild/protobuf";

/**
 * Reads texts from messages of a type by the path of a field, as the contract names it: none where the field is empty or lies in a
 * message that is not set, several of a list. Throws for a path that the type does not have.
 */
export function textsReader(type: DescMessage, path: string): (message: Message) => readonly string[] {
  const { field, rest } = first(type, path);
  if (rest === "") {
    return (message) => {
      const value = valueOf(message, field) as string | readonly string[] | undefined;
      if (value === undefined || value === "") return none;
      return typeof value === "string" ? [value] : value;
    };
  }
  const readRest = textsReader(messageOf(type, field), rest);
  return (message) => {
    const inner = valueOf(message, field) as Message | undefined;
    return inner === undefined ? none : readRest(inner);
  };
}

/** Changes a text in messages of a type; messages on its way are made. Throws as {@link textsReader}. */
export function textChanger(
  type: DescMessage,
  path: string,
): (message: Message, change: (text: string) => string) => void {
  const { field, rest } = first(type, path);
  if (field.oneof !== undefined) throw new Error(`${type.typeName}.${field.name} is one of several`);
  const { localName } = field;
  if (rest === "") {
    return (message, change) => {
      fieldsOf(message)[localName] = change((valueOf(message, field) as string | undefined) ?? "");
    };
  }
  const inner = messageOf(type, field);
  const changeRest = textChanger(inner, rest);
  return (message, change) => {
    const fields = fieldsOf(message);
    fields[localName] ??= create(inner);
    changeRest(fields[localName] as Message, change);
  };
}

const none: readonly string[] = [];

function first(type: DescMessage, path: string): { field: DescField; rest: string } {
  const [name = "", ...rest] = path.split(".");
  const field = type.fields.find((candidate) => candidate.name === name);
  if (field === undefined) throw new Error(`${type.typeName} has no field ${name}`);
  return { field, rest: rest.join(".") };
}

function messageOf(type: DescMessage, field: DescField): DescMessage {
  if (field.fieldKind !== "message") throw new Error(`${type.typeName}.${field.name} is no message`);
  return field.message;
}

function valueOf(message: Message, { localName, oneof }: DescField): unknown {
  if (oneof === undefined) return fieldsOf(message)[localName];
  const set = fieldsOf(message)[oneof.localName] as { case?: string; value?: unknown } | undefined;
  return set?.case === localName ? set.value : undefined;
}

function fieldsOf(message: Message): Record<string, unknown> {
  return message as unknown as Record<string, unknown>;
}
