import { ErrorService } from "../../../../gen/ota/v1/error_service_pb.js";
import { useSession } from "../../session/session.tsx";
import { Link } from "../../ui/link.tsx";
import { Page } from "../../ui/page.tsx";
import { MissingBuilds } from "./missing-builds.tsx";
import { SymbolFileList } from "./symbol-file-list.tsx";
import { UploadSymbols } from "./upload-symbols.tsx";

/** The ELF files that name the raw addresses of crashes, and the builds that lack one. */
export function SymbolFilesPage() {
  const isOperator = useSession().can(ErrorService.method.uploadSymbolFile);
  return (
    <Page
      title="Symbol files"
      trail={[
        <Link key="list" to="/crashes">
          Crashes
        </Link>,
      ]}
      description="They name the addresses in crashes of stripped programs and of microcontrollers. Crashes that come from then on are grouped by functions."
    >
      {isOperator && <UploadSymbols />}
      <MissingBuilds />
      <SymbolFileList />
    </Page>
  );
}
