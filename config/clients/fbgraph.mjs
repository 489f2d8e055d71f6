// fbgraph has a setter. It needs no token and no app secret. `graph.get` accepts `paging.next` if graphward has
// `[links] paging = true`.
//
//   import graph from "fbgraph";
//   graphward(graph);

export function graphward(graph, address = "http://127.0.0.1:8080") {
  return graph.setGraphUrl(address).setVersion("25.0"); // no slash at the end, no "v" before the number
}
