import type { Command } from "commander";
import type { ServeOptions } from "./serve.ts";
import type { Cli } from "./session.ts";

/** `serve`: the service, until Ctrl-C or SIGTERM. */
export function addServeCommand(program: Command, cli: Cli): void {
  program
    .command("serve")
    .description("Run the service: gRPC for devices and tools, HTTP for REST, Connect and health")
    .option("--host <address>", "the address to listen on (default: 127.0.0.1; 0.0.0.0 for all)")
    .option("--http-port <port>", "the port for HTTP (default: 8080; 0 takes a free one)")
    .option("--grpc-port <port>", "the port for gRPC (default: 50051; 0 takes a free one)")
    .addHelpText("after", SERVE_HELP)
    .action(async (_options: object, command: Command) => {
      // The service and its libraries take a while to load: the other commands do without.
      const { serve } = await import("./serve.ts");
      await serve(cli, command.optsWithGlobals<ServeOptions>());
    });
}

const SERVE_HELP = `
Needs nothing: without DEVICE_OTA_DATABASE_URL it runs a PostgreSQL of its own in the data folder. At the first start it
makes an administrator's token and an enrolment key, shows them once, and leaves the token in <data-dir>/admin-token for
this command line. All settings are environment variables that begin with DEVICE_OTA_; docs/settings.md lists them.
SIGTERM, SIGHUP or Ctrl-C ends it in order: streams are told to go, what is queued is written, exit code 0.`;
