// Package web is the page that a frontend shows at /: the mesh, live, for people. It is for package
// api, which serves its files. Whoever wants the same as data asks /mesh and /events.
//
// The page is plain HTML, CSS and JavaScript modules, embedded as they stand in the folder page:
// there is nothing to build but the Go program. It asks for nothing but its own files, /events,
// /mesh, /ready and /history, by addresses relative to its own, so it also works behind a proxy
// that puts a path before it.
//
// # What comes from elsewhere is text
//
// Names, hosts, labels and reasons come from the registry and from gossip, where anybody may have
// written them. The page writes them as text and never as markup, and the policy that goes with it
// ([Bundle.Header]) has the browser refuse anything else: no script and no style but the page's own
// files, no evaluation, no frame around it, no connection to elsewhere.
package web
