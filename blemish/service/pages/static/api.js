// What FastAPI's own page does, with the secret that changes of a session need.
const csrf = document.querySelector("meta[name=csrf]").content;

SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger",
  deepLinking: true,
  validatorUrl: null,
  requestInterceptor: (request) => {
    if (csrf) request.headers["X-CSRF-Token"] = csrf;
    return request;
  },
});
