import { create, toBinary } from "@bufbuild/protobuf";
import { base64Encode } from "@bufbuild/protobuf/wire";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import type { Plugin } from "vite";

/**
 * Leaves out of the console what only describes options of the contract: the rules of protovalidate and the HTTP paths.
 * The console evaluates neither, and their descriptors would be a tenth of its first load. Messages and services keep
 * their options, as bytes that nobody reads.
 */
export function withoutOptionDescriptors(): Plugin {
  return {
    name: "without-option-descriptors",
    enforce: "pre",
    load(id) {
      const file = files.find(({ path }) => path.test(id));
      return file === undefined ? null : emptyFile(file.name, file.constant);
    },
  };
}

const files = [
  {
    path: /\/buf\/validate\/validate_pb\.js$/,
    name: "buf/validate/validate.proto",
    constant: "file_buf_validate_validate",
  },
  {
    path: /\/google\/api\/annotations_pb\.js$/,
    name: "google/api/annotations.proto",
    constant: "file_google_api_annotations",
  },
];

/** A module with the file's name and nothing in it, as generated code imports it. */
function emptyFile(name: string, constant: string): string {
  const descriptor = toBinary(
    FileDescriptorProtoSchema,
    create(FileDescriptorProtoSchema, { name, syntax: "proto3" }),
  );
  return `import { fileDesc } from "@bufbuild/protobuf/codegenv2";
export const ${constant} = /*@__PURE__*/ fileDesc(${JSON.stringify(base64Encode(descriptor, "std_raw"))});
`;
}
