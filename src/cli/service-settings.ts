import { type Config, readConfig } from "../config.ts";

/**
 * The service's settings for a command that runs a part of it. The client's own variables share the prefix but mean
 * nothing to the service; what the command line says goes before the environment.
 */
export function serviceConfig(
  env: Readonly<Record<string, string | undefined>>,
  overrides: Readonly<Record<string, string | undefined>>,
): Config {
  const { DEVICE_OTA_SERVER: _server, DEVICE_OTA_TOKEN: _token, DEVICE_OTA_CA_FILE: _ca, ...settings } = env;
  const given = Object.entries(overrides).filter(([, value]) => value !== undefined);
  return readConfig({ ...settings, ...Object.fromEntries(given) });
}
