/** The product's version; equals package.json (checked by a test), and is here so that bundles need no file beside them. */
export const productVersion = "0.1.0";
