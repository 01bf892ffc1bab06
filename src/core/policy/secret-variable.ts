/** Name of the environment variable that holds a secret: of a laptop's user, or of a worker. Two secrets may share one. */
export function secretVariable(ref: { readonly name: string; readonly key: string }): string {
  return `OAO_SECRET_${ref.name}_${ref.key}`.toUpperCase().replaceAll(/[^A-Z0-9]/g, "_");
}
