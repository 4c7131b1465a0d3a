// What a person can do something about: one clear line, shown as it is.
export class Refusal extends Error {}
