/** Whom a mail is from: an address, and a name that is empty if there is none. */
export interface MailAddress {
  readonly name: string;
  readonly address: string;
}

/**
 * Whether a text is an address that mails are sent to or from: what HTML calls a valid e-mail address. It has no quotes,
 * comments, white space or further addresses, so it can stand in a header and in a command of SMTP as it is.
 */
export function isMailAddress(text: string): boolean {
  return text.length <= maxLength && pattern.test(text);
}

/** RFC 5321, 4.5.3.1.3, without the angle brackets. */
const maxLength = 254;

const pattern =
  /^[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*$/;
