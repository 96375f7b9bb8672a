/** Whether a text can be a device's id: a UUID as the service writes it, in lower case, so that one device has one name. */
export function isDeviceId(text: string): boolean {
  return form.test(text);
}

const form = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/;
