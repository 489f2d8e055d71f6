// facebook-nodejs-business-sdk has Graph's address in getters of a class: redefine them.
// It follows `paging.next` unchanged and without a token, so graphward needs `[links] paging = true`.
//
//   import bizSdk from "facebook-nodejs-business-sdk";
//   const api = graphward(bizSdk);

export function graphward({ FacebookAdsApi }, address = "http://127.0.0.1:8080", token = "unused") {
  for (const name of ["GRAPH", "GRAPH_VIDEO"]) {
    Object.defineProperty(FacebookAdsApi, name, { configurable: true, get: () => address });
  }
  return FacebookAdsApi.init(token); // throws without one
}
