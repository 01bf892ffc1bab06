/** The two dialects of JSON Schema, loaded only for tools that have a schema. A module of ours, because a bundle gives a CommonJS package no named exports through import(). */
export { Ajv } from "ajv";
export { Ajv2020 } from "ajv/dist/2020.js";
