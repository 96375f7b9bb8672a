// A protoc plugin that writes openapi.json: OpenAPI 3.1 of all that the HTTP port serves to programs, made of the contract with
// its comments, rules and options. `buf generate` runs it (buf.gen.yaml).
//
// It is our own because no package of npm makes OpenAPI 3.1 of google.api.http, and those outside of npm (gnostic's, grpc-gateway's,
// sudorandom's) know neither our access option nor how the REST door reads a query. Its paths come from the functions of which the
// door makes its own table (src/api/pipeline/http-binding.ts).

import { create, createFileRegistry, type DescFile } from "@bufbuild/protobuf";
import {
  CodeGeneratorResponse_Feature,
  CodeGeneratorResponseSchema,
  FileDescriptorSetSchema,
} from "@bufbuild/protobuf/wkt";
import { runNodeJs } from "@bufbuild/protoplugin";
import { describeApi } from "./description.ts";

runNodeJs({
  name: "protoc-gen-openapi",
  version: "v1",
  run: ({ protoFile, fileToGenerate }) => {
    const registry = createFileRegistry(create(FileDescriptorSetSchema, { file: protoFile }));
    const files = fileToGenerate.map((name) => registry.getFile(name)).filter(isContract);
    const content = `${JSON.stringify(describeApi(registry, files), undefined, 1)}\n`;
    return create(CodeGeneratorResponseSchema, {
      supportedFeatures: BigInt(CodeGeneratorResponse_Feature.PROTO3_OPTIONAL),
      file: [{ name: "openapi.json", content }],
    });
  },
});

/** Not what the contract stands on, such as google.rpc. */
function isContract(file: DescFile | undefined): file is DescFile {
  return file?.proto.package === "ota.v1";
}
