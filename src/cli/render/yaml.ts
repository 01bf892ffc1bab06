/** YAML, loaded only when it is asked for. A module of ours, because a bundle gives a CommonJS package no named exports through import(). */
export { stringify } from "yaml";
