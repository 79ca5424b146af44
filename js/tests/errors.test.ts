import { expect, test } from "vitest";

import { errorOf, OWN } from "../src/error.js";
import { ERRORS } from "../src/errors.js";

test("SPEC 10: errors that a client finds by itself are those of the catalogue", () => {
  for (const code of Object.keys(OWN) as (keyof typeof OWN)[]) expect(errorOf(code)).toEqual({ code, ...ERRORS[code] });
  expect(errorOf("not_allowed", "Members only.").text).toBe("Members only.");
});
