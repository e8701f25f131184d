// Package access decides who may ask: certificates, tokens, and which browsers. It is for whatever
// serves HTTP.
//
// What it reads from files it reads again when they change, soon after and before the next use. A
// file that cannot be used changes nothing, and is logged once.
package access
