import { useMutation } from "@connectrpc/connect-query";
import type { SymbolFile } from "../../../../gen/ota/v1/error_group_pb.js";
import { ErrorService } from "../../../../gen/ota/v1/error_service_pb.js";
import { useList } from "../../data/use-list.ts";
import { useSession } from "../../session/session.tsx";
import { actorName } from "../../ui/actor-name.ts";
import { CopyText } from "../../ui/copy-text.tsx";
import { type Column, DataTable } from "../../ui/data-table.tsx";
import { DeleteButton } from "../../ui/delete-button.tsx";
import { bytes, count } from "../../ui/format.ts";
import { Nothing } from "../../ui/nothing.tsx";
import { Section } from "../../ui/section.tsx";
import { TimeAgo } from "../../ui/time.tsx";
import { useReloadErrors } from "../use-reload-errors.ts";

/** The symbol files, the newest first. */
export function SymbolFileList() {
  const isOperator = useSession().can(ErrorService.method.deleteSymbolFile);
  const pages = useList(ErrorService.method.listSymbolFiles, {}, ({ symbolFiles }) => symbolFiles);
  return (
    <Section title="Files" description="The newest first" flush>
      <DataTable
        name="symbol files"
        columns={isOperator ? [...columns, deletion] : columns}
        pages={pages}
        keyOf={({ id }) => id}
        empty={
          <Nothing title="No symbol files">
            Upload the ELF file of a build from before strip, here or with device-ota symbols upload.
          </Nothing>
        }
      />
    </Section>
  );
}

const columns: readonly Column<SymbolFile>[] = [
  { id: "name", header: "File", cell: ({ fileName }) => fileName || "without a name" },
  {
    id: "build",
    header: "Build",
    cell: ({ buildId, sha256 }) =>
      buildId === "" ? (
        <CopyText text={sha256} shown={`sha256 ${sha256.slice(0, 9)}…`} />
      ) : (
        <CopyText text={buildId} shown={buildId.length > 16 ? `${buildId.slice(0, 16)}…` : buildId} />
      ),
  },
  {
    id: "functions",
    header: "Functions",
    cell: ({ functionCount }) => count(functionCount),
    numeric: true,
    wide: true,
  },
  { id: "size", header: "Size", cell: ({ sizeBytes }) => bytes(sizeBytes), numeric: true, wide: true },
  {
    id: "creator",
    header: "Uploaded by",
    cell: ({ createdBy }) => actorName(createdBy),
    wide: true,
  },
  {
    id: "created",
    header: "Uploaded",
    cell: ({ createTime }) => <TimeAgo at={createTime} />,
    numeric: true,
  },
];

const deletion: Column<SymbolFile> = {
  id: "delete",
  header: <span aria-hidden />,
  cell: (file) => <DeleteSymbols file={file} />,
  numeric: true,
};

function DeleteSymbols({ file: { id, fileName, buildId, sha256 } }: { readonly file: SymbolFile }) {
  const reload = useReloadErrors();
  const remove = useMutation(ErrorService.method.deleteSymbolFile);
  return (
    <DeleteButton
      what={`the symbols ${fileName || buildId || sha256}`}
      consequences={[
        "Crashes of this build that come from now on are grouped by addresses.",
        "Groups that were made with its names stay. The same file can be uploaded again.",
      ]}
      act={async (reason) => {
        await remove.mutateAsync({ id, reason });
        await reload();
      }}
    />
  );
}
