import type { Command } from "commander";
import { collectNames, parseCount } from "./parse.ts";
import type { SelfSignedOptions } from "./self-signed.ts";
import type { Cli } from "./session.ts";

/** `certificate self-signed`: TLS for the first day, until an authority has given a certificate. */
export function addCertificateCommand(program: Command, cli: Cli): void {
  const certificate = program.command("certificate").description("Certificates of the service's ports");
  certificate
    .command("self-signed")
    .description("Make a key and a certificate that vouches for itself (offline)")
    .requiredOption(
      "--host <names>",
      "DNS names and IP addresses under which the service is reached",
      collectNames,
    )
    .option("--days <number>", "for how long it is valid", parseCount(1, 3_650), 365)
    .option("--out <folder>", "where to write certificate.pem and key.pem", ".")
    .addHelpText("after", HELP)
    .action(async (_options: object, command: Command) => {
      const { makeSelfSigned } = await import("./self-signed.ts");
      await makeSelfSigned(cli, command.optsWithGlobals<SelfSignedOptions>());
    });
}

const HELP = `
  $ device-ota certificate self-signed --host ota.example.com,192.0.2.7
Clients must be given certificate.pem (--ca); a browser warns. It is for the first day: a certificate of an authority can be
renewed without going to every device. docs/operations.md has the recipe.`;
